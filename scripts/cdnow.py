#!/usr/bin/env python3
"""Turns the CDNOW purchase log into NDJSON that `pipelines/winback` reads.

The log (Fader and Hardie: 2,357 customers of a music shop, January 1997 to June 1998) ships inside the PyPI package
`lifetimes`. It is fetched with pip, checked against a pinned hash, and never committed.

    python3 scripts/cdnow.py DIR          # writes DIR/CDNOW_sample.txt and DIR/purchases.ndjson

Each line of the log holds: id in the full data set, id in the sample, date, units, dollars. Each line of the output:

    {"customer_id":"0001","ts":"1997-01-01T00:00:00Z","units":2,"amount":29.33}

Lines are ordered by time; lines of one day keep the log's order. The same log gives the same bytes.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "lifetimes"
VERSION = "0.11.3"
SHA256 = "261e3dc89977c2b60767ca6728aaa29d429de0c814635070a749c36555895da8"
MEMBER = "lifetimes/datasets/CDNOW_sample.txt"


def fetch(target: pathlib.Path) -> None:
    """Downloads the wheel (pip refuses any other hash) and extracts the log, without installing anything."""
    with tempfile.TemporaryDirectory() as scratch:
        requirements = pathlib.Path(scratch, "requirements.txt")
        requirements.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--require-hashes", "--dest", scratch, "--requirement", str(requirements)],
            check=True,
        )
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(MEMBER))


def purchases(log: pathlib.Path):
    """Yields the log's lines as purchases, in the log's order."""
    for number, line in enumerate(log.read_text("ascii").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5:
            raise SystemExit(f"{log}:{number}: expected 5 columns, found {len(fields)}: {line!r}")
        _, customer, day, units, amount = fields
        date = datetime.datetime.strptime(day, "%Y%m%d").date()
        yield {
            "customer_id": customer,
            "ts": f"{date.isoformat()}T00:00:00Z",
            "units": int(units),
            "amount": float(amount),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=pathlib.Path, help="where the log and the NDJSON go")
    directory = parser.parse_args().dir
    directory.mkdir(parents=True, exist_ok=True)

    log = directory / "CDNOW_sample.txt"
    if not log.exists():
        fetch(log)
    rows = sorted(purchases(log), key=lambda row: row["ts"])  # stable: a day keeps the log's order
    output = directory / "purchases.ndjson"
    with output.open("w", encoding="ascii", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
    customers = len({row["customer_id"] for row in rows})
    print(f"{output}: {len(rows)} purchases of {customers} customers, {rows[0]['ts'][:10]} to {rows[-1]['ts'][:10]}")


if __name__ == "__main__":
    main()
