"""The first call of each kind loads models and modules for seconds; this makes them before anyone waits."""

from .call import HttpRequest
from .emulator import Emulator

ACCOUNT = "000000000000"
CALLS = {
    "ec2": ("DescribeSecurityGroups&MaxResults=5", "DescribeVpcs", "DescribeManagedPrefixLists"),
    "sts": (
        "GetCallerIdentity",
        f"AssumeRole&RoleArn=arn:aws:iam::{ACCOUNT}:role/warm&RoleSessionName=warm",
    ),
}
LAMBDA_PATHS = ("/2015-03-31/functions/", "/2015-03-31/functions/warm/policy")


def warm_up() -> None:
    """Make one call of each kind in an account that nobody else uses, on an emulator that is thrown away."""
    emulator = Emulator()
    for path in LAMBDA_PATHS:
        emulator.serve(HttpRequest("GET", path, "", _credentials("lambda"), b""))
    for service, actions in CALLS.items():
        headers = {"content-type": "application/x-www-form-urlencoded", **_credentials(service)}
        for action in actions:
            reply = emulator.serve(HttpRequest("POST", "/", "", headers, f"Action={action}".encode()))
            if reply.status != 200:
                raise RuntimeError(f"{action} answers {reply.status}: {reply.body.decode()}")


def _credentials(service: str) -> dict[str, str]:
    scope = f"{ACCOUNT}/20200101/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope},"}
