"""The control API under `/_emulator/`: JSON in, JSON out, no tokens, no ledger."""

import json
import sys
import traceback
from typing import Any
from urllib.parse import parse_qsl

from .call import HttpRequest, Reply
from .ec2 import backend
from .emulator import Emulator
from .errors import AwsError
from .fleet import seed_fleet
from .journal import GroupState, rules_record
from .lambda_.lifecycle import settle_all
from .lambda_.model import region_of
from .lambda_.record import function_record, layer_record
from .seed import seed

PREFIX = "/_emulator/"


class Control:
    """The endpoints over one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def serve(self, request: HttpRequest) -> Reply:
        """Serve one control request; 400 with a sentence for a wrong one."""
        name = f"{request.method.lower()}_{request.path.removeprefix(PREFIX)}"
        endpoint = getattr(self, name, None)
        if endpoint is None:
            return _json(404, {"error": f"no endpoint {request.method} {request.path}"})
        try:
            body = json.loads(request.body) if request.body else None
            with self._emulator.lock:
                answer = endpoint(dict(parse_qsl(request.query)), body)
            return _json(200, answer)
        except (ValueError, TypeError) as error:
            return _json(400, {"error": str(error)})
        except KeyError as error:
            return _json(400, {"error": f"{error.args[0]} is missing or unknown"})
        except AwsError as error:
            return _json(400, {"error": error.message})
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _json(500, {"error": repr(error)})

    def get_health(self, _query: dict[str, str], _body: Any) -> Any:
        """Whether the emulator serves."""
        return {"ok": True}

    def get_ledger(self, query: dict[str, str], _body: Any) -> Any:
        """Calls of an account after a `seq`, of operations that match a glob."""
        calls = self._emulator.ledger.read(
            query.get("account"), int(query.get("after", 0)), query.get("operation", "*")
        )
        return {"calls": calls}

    def delete_ledger(self, query: dict[str, str], _body: Any) -> Any:
        """Forget calls."""
        self._emulator.ledger.clear(query.get("account"))
        return {}

    def put_faults(self, query: dict[str, str], body: Any) -> Any:
        """Replace the faults of an account."""
        self._emulator.faults.put(query["account"], body)
        return self.get_faults(query, None)

    def get_faults(self, query: dict[str, str], _body: Any) -> Any:
        """The faults of an account with their counters."""
        return {"faults": self._emulator.faults.as_json(query["account"])}

    def delete_faults(self, query: dict[str, str], _body: Any) -> Any:
        """Remove the faults of an account."""
        self._emulator.faults.put(query["account"], [])
        return {}

    def put_settings(self, query: dict[str, str], body: Any) -> Any:
        """Replace the settings of an account; its request rates start anew."""
        self._emulator.settings.put(query["account"], body)
        self._emulator.buckets.refill(query["account"])
        return self.get_settings(query, None)

    def get_settings(self, query: dict[str, str], _body: Any) -> Any:
        """The settings of an account, defaults included."""
        return self._emulator.settings.as_json(query["account"])

    def get_groups(self, query: dict[str, str], _body: Any) -> Any:
        """All security groups of an account in a region with their rules."""
        owner = backend(query["account"], query["region"])
        return {"groups": [_group(owner, group) for groups in owner.groups.values() for group in groups.values()]}

    def get_functions(self, query: dict[str, str], _body: Any) -> Any:
        """All functions of an account in a region with all that belongs to them."""
        region = region_of(query["account"], query["region"])
        settle_all(region)
        return {"functions": [function_record(each, values=True) for each in region.functions.values()]}

    def get_layers(self, query: dict[str, str], _body: Any) -> Any:
        """All versions of the layers of an account in a region with their policies."""
        layers = region_of(query["account"], query["region"]).layers
        return {"layers": [layer_record(version) for versions in layers.values() for version in versions.values()]}

    def post_seed(self, _query: dict[str, str], body: Any) -> Any:
        """Make VPCs, prefix lists, groups, interfaces, functions and what else they need."""
        return seed(body)

    def post_fleet(self, _query: dict[str, str], body: Any) -> Any:
        """Make thousands of groups or functions, some of them bad."""
        return seed_fleet(body)


def _group(owner: Any, group: Any) -> dict[str, Any]:
    return {
        "groupId": group.id,
        "name": group.name,
        "description": group.description,
        "vpcId": group.vpc_id,
        "ownerId": group.owner_id,
        "default": group.is_default,
        "tags": dict(owner.tags.get(group.id, {})),
        **rules_record(GroupState.of(group), owner.tags),
    }


def _json(status: int, value: Any) -> Reply:
    return Reply(status, "application/json", json.dumps(value).encode())
