#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
#	tools/debian/build.sh TARBALL.tar.xz FOLDER
#
# Builds the Debian packages of a release tarball (`make dist`) in FOLDER, and
# has lintian look at them where it is installed.
set -eu

if test $# -ne 2; then
	echo 'usage: tools/debian/build.sh TARBALL.tar.xz FOLDER' >&2
	exit 2
fi
name=$(basename "$1" .tar.xz)
mkdir -p "$2"
folder=$(cd "$2" && pwd)
cp "$1" "$folder/strata_${name#strata-}.orig.tar.xz"
tar -C "$folder" -xf "$1"
cd "$folder/$name"
cp -R tools/debian debian
rm debian/build.sh
dpkg-buildpackage -us -uc
if command -v lintian >/dev/null; then
	lintian --allow-root --fail-on error,warning ../*.changes
fi
