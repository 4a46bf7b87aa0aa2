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


def warm_up() -> None:
    """Make one call of each kind in an account that nobody else uses, on an emulator that is thrown away."""
    emulator = Emulator()
    for service, actions in CALLS.items():
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20200101/us-east-1/{service}/aws4_request,",
        }
        for action in actions:
            reply = emulator.serve(HttpRequest("POST", "/", "", headers, f"Action={action}".encode()))
            if reply.status != 200:
                raise RuntimeError(f"{action} answers {reply.status}: {reply.body.decode()}")
