# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# Compares the atomics of C files with the rows of a document:
#
#	awk -f ordering.awk FILE.c FILE.h ... DOCUMENT.md
#
# The C files keep to the style of this project: a function's name and its
# braces begin their lines. A table of the document counts if one of its columns
# is called "where", and one "order". "where" names functions and their files,
# as in: `one`, `two` (file.c), `one` (other.c, third.c). A function that is
# named without a file has the one of an earlier row below the same heading.
# One complaint is one line of output.

function complain(text)
{
	print text
	nr_complaints++
}

# What is no code: comments, which may go on from line to line, and strings.
function code_of(line,    at)
{
	gsub(/\\./, "", line)
	if (in_comment) {
		if (!(at = index(line, "*/")))
			return ""
		line = substr(line, at + 2)
		in_comment = 0
	}
	gsub(/"[^"]*"/, "\"\"", line)
	while ((at = index(line, "/*")) > 0) {
		rest = substr(line, at + 2)
		line = substr(line, 1, at - 1)
		if (!(at = index(rest, "*/"))) {
			in_comment = 1
			break
		}
		line = line " " substr(rest, at + 2)
	}
	return line
}

# From an opening parenthesis, which is the first character, to its end.
function parenthesis(text,    i, c, depth)
{
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		depth += (c == "(") - (c == ")")
		if (depth == 0)
			return substr(text, 1, i)
	}
	return text
}

function note_order(key, order)
{
	if (!((key, order) in has_order)) {
		has_order[key, order] = 1
		orders[key] = orders[key] " " order
	}
}

# The orders that a call names; what is called inside of it counts, too.
function note_call(key, name, call,    nr)
{
	while (match(call, /memory_order_[a-z_]+|__ATOMIC_[A-Z_]+/)) {
		order = tolower(substr(call, RSTART, RLENGTH))
		sub(/^(memory_order|__atomic)_/, "", order)
		note_order(key, order)
		call = substr(call, RSTART + RLENGTH)
		nr++
	}
	if (!nr)
		complain(place(key) ": " name " names no order")
}

function place(key)
{
	split(key, part, SUBSEP)
	return part[2] ", " part[1] "()"
}

# Everything that is called in a function, atomics with their orders.
function note_body(key, text,    name)
{
	while (match(text, /[A-Za-z_][A-Za-z_0-9]*[ ]*\(/)) {
		name = substr(text, RSTART, RLENGTH - 1)
		text = substr(text, RSTART + RLENGTH - 1)
		sub(/ +$/, "", name)
		if (name ~ /^atomic_(init|is_lock_free)$/)
			continue
		if (name ~ /^(atomic_|__atomic_|__sync_)/)
			note_call(key, name, parenthesis(text))
		else if (name ~ /^strata__fence_(acquire|release|seq_cst)$/)
			note_order(key, substr(name, 15))
		else if (name ~ /^strata__(light|heavy)_fence$/)
			note_order(key, "seq_cst")
		else
			callees[key] = callees[key] " " name
	}
}

function c_line(line)
{
	line = code_of(line)
	if (line ~ /^[a-z_][a-zA-Z_0-9]*\(/) {
		name = line
		sub(/\(.*/, "", name)
	} else if (line ~ /^\{/ && name != "") {
		key = name SUBSEP file
		defined[key] = 1
		files_of[name] = files_of[name] " " file
		body = " "
	} else if (line ~ /^\}/) {
		if (body != "")
			note_body(key, body)
		name = body = ""
	} else if (body != "") {
		body = body " " line
	} else if (line ~ /atomic_[a-z_]+ *\(|__atomic_|__sync_/) {
		complain(file ": an atomic outside of any function")
	} else if (line ~ /;/) {
		name = ""
	}
}

# Functions and their files, in the order in which a cell names them.
function where_cell(cell, order_cell, all,    nr, i, token, waiting, key)
{
	nr_row = nr = 0
	while (match(cell, /`[^`]*`|[(][a-z-]+\.[ch](, [a-z-]+\.[ch])*[^)]*[)]/)) {
		token = substr(cell, RSTART + 1, RLENGTH - 2)
		kind = substr(cell, RSTART, 1)
		cell = substr(cell, RSTART + RLENGTH)
		if (kind == "`") {
			if (token ~ /^[a-z_][a-zA-Z_0-9]*$/)
				waiting[++nr] = token
			continue
		}
		nr_files = split(token, files, /, /)
		for (i = 1; i <= nr; i++) {
			for (j = 1; j <= nr_files; j++) {
				if (files[j] !~ /^[a-z-]+\.[ch]$/)
					continue
				row_name(waiting[i], files[j], order_cell)
				earlier[heading, waiting[i]] = files[j]
			}
		}
		nr = 0
	}
	for (i = 1; i <= nr; i++) {
		if ((heading, waiting[i]) in earlier)
			row_name(waiting[i], earlier[heading, waiting[i]],
				 order_cell)
		else
			complain(line_name ": " waiting[i] " has no file")
	}
	row_orders(order_cell)
}

function row_name(name, file, order_cell,    key)
{
	key = name SUBSEP file
	row_keys[++nr_row] = key
	if (!(key in defined)) {
		complain(line_name ": there is no " name "() in " file)
		return
	}
	told[key] = told[key] " " order_cell
}

# Each order of a row is one of the functions that it names, or of one that
# these call: a row that has outlived its atomic is found.
function row_orders(cell,    i, order, nr_words, words)
{
	nr_words = split(cell, words, /[^a-z_]+/)
	for (i = 1; i <= nr_words; i++) {
		order = words[i]
		if (order ~ /^(relaxed|acquire|release|acq_rel|seq_cst)$/ &&
		    nr_row > 0 && !row_has(order))
			complain(line_name ": nothing there is " order)
	}
}

function row_has(order,    i, j, k, nr, nr_files, names, files)
{
	for (i = 1; i <= nr_row; i++) {
		if ((row_keys[i], order) in has_order)
			return 1
		nr = split(callees[row_keys[i]], names, " ")
		for (j = 1; j <= nr; j++) {
			nr_files = split(files_of[names[j]], files, " ")
			for (k = 1; k <= nr_files; k++)
				if ((names[j], files[k], order) in has_order)
					return 1
		}
	}
	return 0
}

function document_line(line,    cells, nr, i)
{
	line_name = "line " FNR
	if (line ~ /^#/)
		heading = line
	if (line !~ /^\|/) {
		where = 0
		return
	}
	if (line ~ /^[|: -]+$/)
		return
	nr = split(line, cells, /[|]/)
	if (!where) {
		order = 0
		where = -1
		for (i = 1; i <= nr; i++) {
			gsub(/^ +| +$/, "", cells[i])
			if (cells[i] == "where")
				where = i
			if (cells[i] == "order")
				order = i
		}
		if (order == 0)
			where = -1
	} else if (where > 0) {
		where_cell(cells[where], cells[order])
	}
}

FNR == 1 {
	file = FILENAME
	sub(/.*\//, "", file)
	in_comment = 0
	name = body = ""
}

FILENAME ~ /\.[ch]$/ { c_line($0); next }
{ document_line($0) }

END {
	for (key in orders) {
		nr = split(orders[key], list, " ")
		for (i = 1; i <= nr; i++) {
			nr_orders++
			if ((told[key] " ") !~ ("[^a-z_]" list[i] "[^a-z_]"))
				complain(place(key) ": no row tells of " list[i])
		}
	}
	if (nr_orders == 0)
		complain("no atomics at all: is this the right folder?")
	if (count)
		print "orders: " nr_orders + 0
	exit nr_complaints > 0
}
