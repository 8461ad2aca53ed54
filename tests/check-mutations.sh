#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The mutations still apply, so that `make mutate` still takes out what it says.
# A long test takes them out, too.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
if test "${STRATA_TEST_LENGTH:-}" = long; then
	exec sh "$top_srcdir/tests/mutate.sh"
fi
exec sh "$top_srcdir/tests/mutate.sh" --check
