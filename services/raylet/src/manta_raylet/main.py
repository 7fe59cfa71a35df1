"""manta-raylet: one node's resources, leases and worker processes."""

from __future__ import annotations

import os
import sys

from manta_common import logs
from manta_common.credentials import CredentialError, find_token
from manta_common.process import die_with_parent, fill_standard_descriptors, raise_nofile_limit, set_child_subreaper
from manta_common.settings import describe, load

from manta_raylet.processes.zygote_process import ZYGOTE_LOG, spawn
from manta_raylet.server.settings import RayletSettings

log = logs.get("manta_raylet")


def main() -> None:
    """Console script. exits: 0 after SIGTERM or a drain, 1 when it cannot serve, 2 for wrong settings."""
    fill_standard_descriptors()
    settings = load(
        RayletSettings,
        prefix="MANTA_RAYLET_",
        argv=sys.argv[1:],
        env=os.environ,
        program="manta-raylet",
        description="Serve one node's resources, leases and worker processes.",
    )
    if settings.die_with_parent:
        die_with_parent()
    logs.configure("raylet", settings.log_level, settings.log_file)
    log.info("settings_loaded", **describe(settings))
    raise_nofile_limit()
    set_child_subreaper()
    try:
        token = find_token(os.environ, settings.token_file, settings.session_dir)
        settings.log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before the imports below: its own take as long, and it is forked while this process has one thread.
        zygote = spawn(settings.zygote_argv, settings.log_dir / ZYGOTE_LOG)
        import uvloop

        from manta_raylet.server.server import serve

        uvloop.run(serve(settings, token, zygote))
    except (CredentialError, OSError) as error:
        log.error("raylet_failed", reason=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
