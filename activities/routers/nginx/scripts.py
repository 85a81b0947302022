"""The scripts for `sh` that run on a host: look at its include, put one in place, take it back, reload.

Each that changes something is one command, so that a worker that dies or a connection that breaks leaves nothing half
done. It may then outlive its caller, and somebody else may be the next: so each takes a lock of its own, and under
that lock compares what is there with what its caller has seen.
"""

MISSING, UNWRITABLE, REFUSED, OVERTAKEN = 44, 41, 42, 45
LOCK_S = 5

PLACES = 'f=$(readlink -f -- "$1") && [ -e "$f" ] || exit 44\nb=$(dirname -- "$f")/.$(basename -- "$f")\n'
LOOK = (
    PLACES
    + r"""
cat -- "$f" || exit 41
printf '\000'
cat -- "$b.before" 2>/dev/null && echo age $(($(date +%s) - $(date -r "$b.before" +%s)))
printf '\000'
LC_ALL=C ps -A -o pid= -o ppid= -o etimes= -o args= | grep 'nginx: worker process'
printf '\000'
cat /proc/[0-9]*/stat 2>/dev/null | grep -a '(nginx'
printf '\000'
cat -- "$b.good" 2>/dev/null
exit 0
"""
)
# `$2`: SHA-256 of the include that the caller has seen, "-" if it may be any.
_ALONE = (
    "trap '' HUP INT TERM PIPE\n"
    + PLACES
    + f"""
exec 9> "$b.lock" || exit {UNWRITABLE}
flock -w {LOCK_S} 9 || {{ echo "no lock: an earlier command still runs here" >&2; exit {OVERTAKEN}; }}
is=$(sha256sum < "$f") || exit {UNWRITABLE}
[ "$2" = - ] || [ "${{is%% *}}" = "$2" ] || {{ echo "somebody else has changed it meanwhile" >&2; exit {OVERTAKEN}; }}
"""
)
# `keep` is the way back: what cannot be tested stays, because it is what nginx shall read as soon as it can read
# anything. What nginx has taken is kept as `.good`, for the day on which somebody breaks the include by hand.
PUT = (
    _ALONE
    + r"""
keep=$3 size=$4; shift 4
rm -f -- "$b.new" && cp -p -- "$f" "$b.new" && cat > "$b.new" && [ "$(wc -c < "$b.new")" -eq "$size" ] || exit 41
sync "$b.new" 2>/dev/null || sync
cp -p -- "$f" "$b.old" && mv -f -- "$b.new" "$f" || exit 41
"$@" -T 9>&- || { code=$?; [ "$keep" = keep ] || mv -f -- "$b.old" "$f"; echo "exit code $code" >&2; exit 42; }
cp -p -- "$f" "$b.good" || exit 41
"""
)
# Only over what was put there: an older backup must not replace anything else.
UNDO = (
    _ALONE
    + r"""
[ "${is%% *}" = "$3" ] || exit 0
mv -f -- "$b.old" "$f" || exit 41
echo back
"""
)
# Back to what ran before the last reload: those workers are no old ones, only those that came since then are.
RELOAD = (
    _ALONE
    + r"""
log=$3 back=$4; shift 4
touch "$b.before" && [ "$back" != back ] && : > "$b.before"
ps -A -o pid= -o args= | grep 'nginx: worker process *$' | grep -v -x -F -f "$b.before" > "$b.before.new"
mv -f -- "$b.before.new" "$b.before" || exit 41
[ -z "$log" ] || wc -c < "$log" || echo 0
"$@" -s reload 9>&-
"""
)
LOG = 'size=$(wc -c < "$1") || exit 0\n[ "$size" -ge "$2" ] || set -- "$1" 0\ntail -c "+$(($2 + 1))" "$1"'
