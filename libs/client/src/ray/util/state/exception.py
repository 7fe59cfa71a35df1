"""The error of the state API."""

from ray.exceptions import RayError


class RayStateApiException(RayError):
    """The state of the cluster could not be asked for, or only in part; the text says why and what to do."""

    def __init__(self, err_msg: str) -> None:
        super().__init__(err_msg)

    def __str__(self) -> str:
        return str(self.args[0])
