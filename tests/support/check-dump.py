# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
"""check-dump.py SCHEMA DUMP FOLDER STRATA: a dump is as its schema says, and
each layer lies where it says; STRATA of "-": that is not looked at, since there is
a writer at work. Leaves with 77 without the jsonschema package."""
import json
import os
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    sys.exit(77)

schema_path, dump_path, folder, strata = sys.argv[1:]
with open(schema_path) as file:
    schema = json.load(file)
with open(dump_path) as file:
    dump = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
jsonschema.validate(dump, schema)

statistics = dump["statistics"]
for what, here, there in [
        ("version", statistics["version"], dump["version"]),
        ("layers", statistics["layers"], len(dump["layers"])),
        ("layers_indexed", statistics["layers_indexed"], len(dump["layers"])),
        ("dimensions", statistics["dimensions"], len(dump["dimensions"])),
        ("content_bytes", statistics["content_bytes"],
         sum(layer["size"] for layer in dump["layers"]))] + [
        (state, statistics[state],
         sum(one["state"] == state for one in dump["dimensions"]))
        for state in ("proto", "crystallized", "hybrid")]:
    if here != there:
        sys.exit("statistics say %s: %s, but it is %s" % (what, here, there))
if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", dump["timestamp"]):
    sys.exit("no time of RFC 3339: %s" % dump["timestamp"])

for layer in dump["layers"] if strata != "-" else []:
    place = layer["location"]
    with open(os.path.join(folder, place["segment"]), "rb") as file:
        file.seek(place["offset"])
        there = file.read(layer["size"])
    name = "%d/%d" % (layer["dimension"], layer["layer"])
    content = subprocess.run([strata, "cat", dump["store"], name],
                             check=True, stdout=subprocess.PIPE).stdout
    if there != content:
        sys.exit("layer %s is not at its place %s" % (name, place))

by_region = sum(len(region["layers"]) for region in dump["regions"]
                if region["state"] == "live")
in_region = sum(layer["location"]["in"] == "region"
                for layer in dump["layers"])
if by_region != in_region and strata != "-":
    sys.exit("regions have %d layers, %d layers are in regions"
             % (by_region, in_region))
print("%d layers" % len(dump["layers"]))
