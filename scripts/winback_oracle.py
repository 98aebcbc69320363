#!/usr/bin/env python3
"""Computes which win-back emails are due, without any streaming: what `pipelines/winback` must agree with.

    python3 scripts/winback_oracle.py purchases.ndjson > expected.ndjson

A customer's purchases are sorted by time and cut wherever more than 90 days lie between two of them; a purchase exactly
90 days after the last one still belongs together with it. Each piece is a lapse whose deadline is 90 days after its last
purchase. A lapse counts once the log has seen its deadline: deadlines after the last purchase of the whole log are
unknown, and nobody is mailed on a guess. Prints one JSON object a lapse, sorted, and the counts on standard error.
"""

import argparse
import collections
import datetime
import json
import pathlib
import sys
from fractions import Fraction

SILENCE = datetime.timedelta(days=90)


def read(path: pathlib.Path):
    """Returns each customer's purchases as (time, amount in exact arithmetic)."""
    by_customer = collections.defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line, parse_float=Fraction, parse_int=Fraction)
            time = datetime.datetime.fromisoformat(row["ts"].replace("Z", "+00:00"))
            by_customer[row["customer_id"]].append((time, row["amount"]))
    return by_customer


def lapses(bought):
    """Cuts one customer's purchases into runs without a longer silence."""
    run = []
    for purchase in sorted(bought, key=lambda purchase: purchase[0]):
        if run and purchase[0] - run[-1][0] > SILENCE:
            yield run
            run = []
        run.append(purchase)
    yield run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("purchases", type=pathlib.Path, help="NDJSON as written by cdnow.py")
    by_customer = read(parser.parse_args().purchases)
    seen_until = max(time for bought in by_customer.values() for time, _ in bought)

    due, open_lapses, exact_joins = [], 0, 0
    for customer, bought in by_customer.items():
        for run in lapses(bought):
            exact_joins += sum(b[0] - a[0] == SILENCE for a, b in zip(run, run[1:]))
            last = run[-1][0]
            if last + SILENCE > seen_until:
                open_lapses += 1
                continue
            due.append({
                "recipient_key": customer,
                "dedupe_key": f"winback:{last:%Y-%m-%d}",
                "email": f"{customer}@customers.example",
                "last_purchase": f"{last.day} {last:%B %Y}",
                "purchases": len(run),
                "discount": 15 if sum(amount for _, amount in run) >= 100 else 10,
            })

    for row in sorted(due, key=lambda row: (row["recipient_key"], row["dedupe_key"])):
        print(json.dumps(row, separators=(",", ":")))
    customers = collections.Counter(row["recipient_key"] for row in due)
    print(
        f"{len(due)} lapses of {len(customers)} customers, {sum(n > 1 for n in customers.values())} of them more than once; "
        f"{open_lapses} still open at {seen_until:%Y-%m-%d}; {exact_joins} purchases exactly 90 days after the one before",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
