# prelude: the chapter's `ray start`, on a port of its own
import json
import os
import subprocess
import sys

ray_command = os.path.join(os.path.dirname(sys.executable), "ray")
resources = '{"special_hardware": 1, "custom_label": 1}'
command = [ray_command, "start", "--head", "--port=0", "--num-cpus=3", "--num-gpus=4", f"--resources={resources}"]
environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

# epilogue: it has what was said
import ray  # noqa: E402

try:
    ray.init(address="auto")
    total = ray.cluster_resources()
    print(json.dumps({name: total[name] for name in ("CPU", "GPU", "special_hardware", "custom_label")}))
    ray.shutdown()
finally:
    subprocess.run([ray_command, "stop"], check=True, stdout=subprocess.DEVNULL)
