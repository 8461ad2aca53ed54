#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The models of the RCU domain hold, and break where a safeguard is taken away:
# a small part of what `make model` does.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
exec sh "$top_srcdir/tests/model/run.sh" short
