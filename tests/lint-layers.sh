#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Judges every #include of src/ against src/LAYERS, the 600-line cap and forbidden leftovers.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
for f in $(find src -name '*.[ch]'); do
	awk -v file="$f" '
		FNR == NR { if ($0 !~ /^#/ && NF) { rule[$1] = " " $0 " " } next }
		/^#include <cdc\// { gsub(/^#include <cdc\/|\.h>.*/, ""); used[$0] = FNR }
		/^#include "/ { gsub(/^#include "|".*/, ""); kind = /pb-c\.h$/ ? "pb-c" : /^sql_/ ? "sql" : /\// ? substr($0, 1, index($0, "/") - 1) : "own"; loc[kind] = FNR }
		END {
			best = ""
			for (p in rule) if (index(file, p) == 1 && length(p) > length(best)) best = p
			if (best == "") { print file ": no rule in src/LAYERS"; exit 1 }
			for (u in used) if (rule[best] !~ (" " u " ")) { print file ":" used[u] ": may not include cdc/" u ".h"; bad = 1 }
			for (u in loc) if (rule[best] !~ (" " u " ")) { print file ":" loc[u] ": may not include this local header (" u ")"; bad = 1 }
			exit bad
		}' src/LAYERS "$f" || bad=1
done
for f in $(find .ci include src tests -name '*.[ch]' -o -name '*.sh' -o -name '*.py'); do
	n=$(wc -l <"$f")
	[ "$n" -le 600 ] || { echo "$f: $n lines, the cap is 600"; bad=1; }
done
if grep -rnIE '\b(TODO|FIXME|XXX|HACK)\b' src include sql systemd packaging; then
	echo "leftovers in the product's code"
	bad=1
fi
[ $bad -eq 0 ] && echo "layers, caps and leftovers: ok"
exit $bad
