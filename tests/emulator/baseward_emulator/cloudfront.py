"""ListDistributions of CloudFront, which is one for all regions. Mends: moto loses the functions of a distribution."""

from . import paging
from .call import Call
from .errors import AwsError
from .wire import element

NAMESPACE = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
# CloudFront signs with this region, and Lambda@Edge takes functions of no other one.
HOME = "us-east-1"

# Of each account the ARNs of function versions by distribution: those of its default cache behavior and those of others.
_ACCOUNTS: dict[str, list[tuple[list[str], list[str]]]] = {}


def add_distribution(account: str, default: list[str], others: list[str]) -> None:
    """A distribution whose cache behaviors call these versions of functions."""
    _ACCOUNTS.setdefault(account, []).append((default, others))


class CloudFront:
    """The API for one call."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def list_distributions(self) -> str:
        """Distributions in pages of at most 100."""
        call = self.call
        if (size := call.parameters.get("MaxItems")) is not None:
            if not str(size).isdecimal():
                raise AwsError("InvalidArgument", f"MaxItems is not a number: {size}")
            call.parameters["MaxItems"] = int(size)
        known = list(enumerate(_ACCOUNTS.get(call.account, [])))
        page, token = paging.page(call, known)
        items = "".join(_summary(call.account, number, *functions) for number, functions in page)
        content = (
            element("Marker", call.parameters.get("Marker", ""))
            + element("NextMarker", token)
            + element("MaxItems", call.parameters.get("MaxItems", 100))
            + element("IsTruncated", token is not None)
            + element("Quantity", len(page))
            + (f"<Items>{items}</Items>" if items else "")
        )
        return f'<?xml version="1.0"?>\n<DistributionList xmlns="{NAMESPACE}">{content}</DistributionList>'


def _summary(account: str, number: int, default: list[str], others: list[str]) -> str:
    """A distribution with what its cache behaviors call; the rest of it is left out."""
    behavior = f"<CacheBehavior><PathPattern>/*</PathPattern>{_associations(others)}</CacheBehavior>" if others else ""
    name = f"E{number:013d}"
    return (
        f"<DistributionSummary><Id>{name}</Id><ARN>arn:aws:cloudfront::{account}:distribution/{name}</ARN>"
        "<Status>Deployed</Status><Enabled>true</Enabled>"
        f"<DefaultCacheBehavior>{_associations(default)}</DefaultCacheBehavior>"
        f"<CacheBehaviors><Quantity>{int(bool(others))}</Quantity><Items>{behavior}</Items></CacheBehaviors>"
        "</DistributionSummary>"
    )


def _associations(arns: list[str]) -> str:
    items = "".join(
        f"<LambdaFunctionAssociation>{element('LambdaFunctionARN', arn)}<EventType>viewer-request</EventType>"
        "<IncludeBody>false</IncludeBody></LambdaFunctionAssociation>"
        for arn in arns
    )
    listed = f"<Items>{items}</Items>" if items else ""
    return (
        f"<LambdaFunctionAssociations><Quantity>{len(arns)}</Quantity>{listed}</LambdaFunctionAssociations>"
    )
