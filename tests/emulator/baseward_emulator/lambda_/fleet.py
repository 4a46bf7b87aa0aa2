"""Fleets of functions: thousands, most of them good, made in a second and the same for the same seed."""

import random
from typing import Any

from .model import Region
from .seed import add_function

# What is wrong with a bad function.
PROBLEMS = ("publicPolicy", "urlNone", "tracingOff", "deprecatedRuntime", "secrets")
GOOD_RUNTIMES = ("python3.13", "nodejs24.x", "java21", "provided.al2023")
OLD_RUNTIMES = ("python3.8", "nodejs16.x", "go1.x", "python3.9")
# Looks like a key of AWS, and is none.
SECRET = {"AWS_SECRET": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "DB_PASSWORD": "correct-horse-battery"}


def seed_functions(region: Region, given: dict[str, Any]) -> dict[str, Any]:
    """Make a fleet; answers the bad functions with what is wrong with each. Raises ValueError."""
    count, prefix = given["functions"], given.get("namePrefix", "fleet")
    bad = given.get("badFunctions", round(count * given.get("badShare", 0.02)))
    if count < 1:
        raise ValueError(f"functions is a number from 1, not {count}")
    if not 0 <= bad <= count:
        raise ValueError(f"badFunctions is a number from 0 to functions, not {bad}")
    wrong = given.get("functionProblems", list(PROBLEMS))
    if not wrong or not set(wrong) <= set(PROBLEMS):
        raise ValueError(f"functionProblems names some of {', '.join(PROBLEMS)}, not {wrong}")
    if f"{prefix}-0" in region.functions:
        raise ValueError("this fleet exists already; give it another namePrefix")
    chance = random.Random(f"{region.account}/{region.name}/{given.get('seed', 42)}/functions")
    chosen = sorted(chance.sample(range(count), bad))
    problems = {index: wrong[position % len(wrong)] for position, index in enumerate(chosen)}
    answered = []
    for index in range(count):
        problem = problems.get(index)
        description = _good(region, f"{prefix}-{index}", chance, given.get("tags", {}))
        if problem:
            _spoil(description, problem, chance)
        function = add_function(region, description)
        if problem:
            answered.append({"name": function.name, "arn": function.arn, "problem": problem})
    return {"functions": count, "badFunctions": answered}


def _good(region: Region, name: str, chance: random.Random, tags: dict[str, str]) -> dict[str, Any]:
    """A function that a baseline has nothing to say about."""
    own = f"arn:aws:events:{region.name}:{region.account}:rule/{name}"
    return {
        "name": name,
        "runtime": chance.choice(GOOD_RUNTIMES),
        "kmsKeyArn": f"arn:aws:kms:{region.name}:{region.account}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "environment": {"STAGE": "production", "LOG_LEVEL": chance.choice(("info", "warn"))},
        "tracing": "Active",
        "deadLetter": f"arn:aws:sqs:{region.name}:{region.account}:{name}",
        "logging": {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"},
        "tags": dict(tags),
        "policy": {
            "": [
                {
                    "Sid": "events",
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "lambda:InvokeFunction",
                    "Resource": region.arn("function", name),
                    "Condition": {
                        "StringEquals": {"AWS:SourceAccount": region.account},
                        "ArnLike": {"AWS:SourceArn": own},
                    },
                }
            ]
        },
    }


def _spoil(description: dict[str, Any], problem: str, chance: random.Random) -> None:
    match problem:
        case "publicPolicy":
            good = description["policy"][""][0]
            public = {"Sid": "everyone", "Effect": "Allow", "Principal": "*", "Action": good["Action"]}
            description["policy"][""].append({**public, "Resource": good["Resource"]})
        case "urlNone":
            description["urls"] = [{"authType": "NONE"}]
        case "tracingOff":
            description["tracing"] = "PassThrough"
        case "deprecatedRuntime":
            description["runtime"] = chance.choice(OLD_RUNTIMES)
        case "secrets":
            description["environment"] = {**description["environment"], **SECRET}
