#!/bin/sh
# Checks a change of policies, and writes a report in Markdown for whoever reviews it. For any CI: needs `authz`, `git` and `tar`.
#
#   POLICIES     the directory of the policies                         (policies)
#   BASE         what the change is compared with: a Git revision      (none: no comparison)
#   AUDIT        recorded decisions: files, separated by spaces        (none: no replay)
#   REPORT       where the report is written                           (policy-report.md)
#   COVERAGE     how much of the policies the tests have to cover      (100)
#   AUTHZ_CONFIG the configuration, which authz reads by itself        (authz.yaml here, if there is one)
#
# Exit codes: 0 the policies are good, whatever they change; 1 they are not, or could not be compared or replayed.
set -u

POLICIES=${POLICIES:-policies}
BASE=${BASE:-}
AUDIT=${AUDIT:-}
REPORT=${REPORT:-policy-report.md}
COVERAGE=${COVERAGE:-100}

failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
: >"$REPORT" || exit 1

# Annotations stand beside the lines of the change where somebody shows them.
annotations=
[ "${GITHUB_ACTIONS:-}" = true ] && annotations=--github

say() { printf '%s\n' "$@" >>"$REPORT"; }

# step NAME COMMAND...: runs a check whose exit code has to be 0; the report has the first lines of what it says otherwise.
step() {
    name=$1
    shift
    echo "== $name"
    "$@" >"$work/output" 2>&1
    code=$?
    cat "$work/output"
    if [ "$code" -eq 0 ]; then
        say "- ✅ $name"
    else
        say "- ❌ $name" "" '``````text'
        grep -v '^::' "$work/output" | head -n 40 >>"$REPORT"
        say '``````' ""
        failed=1
    fi
}

# compare NAME COMMAND...: adds what a command prints to the report. That there is a difference (1) is no failure.
compare() {
    name=$1
    shift
    echo "== $name"
    "$@" >"$work/output" 2>"$work/errors"
    code=$?
    cat "$work/output" "$work/errors"
    say "" ""
    if [ "$code" -le 1 ]; then
        cat "$work/output" >>"$REPORT"
    else
        say "❌ $name: it could not be done, see the log."
        failed=1
    fi
}

say "## Policies" ""
step "valid" authz validate "$POLICIES"
if [ "$failed" -ne 0 ]; then
    # Of policies with errors every other step would say the same again.
    say "Nothing else was checked."
    exit 1
fi
step "no findings" authz lint "$POLICIES" $annotations
step "tests pass, cover $COVERAGE % and notice every slip" \
    authz test "$POLICIES" --coverage --fail-under "$COVERAGE" --mutate $annotations

if [ -n "$BASE" ]; then
    mkdir "$work/base"
    if ! git rev-parse --quiet --verify "$BASE^{commit}" >/dev/null; then
        echo "There is no commit $BASE in this clone: fetch it, with its history (fetch-depth: 0, GIT_DEPTH: 0)."
        say "" "❌ comparison with $BASE: there is no such commit in this clone."
        failed=1
    elif ! git archive --output "$work/base.tar" "$BASE" -- "$POLICIES" 2>"$work/errors"; then
        cat "$work/errors"
        say "" "There are no policies at \`$BASE\` to compare with."
    elif ! tar -x -f "$work/base.tar" -C "$work/base"; then
        failed=1
    elif ! authz validate "$work/base/$POLICIES" >/dev/null 2>&1; then
        say "" "The policies at \`$BASE\` have errors, so this change is compared with nothing."
    else
        compare "comparison with $BASE" authz diff "$work/base/$POLICIES" "$POLICIES" --markdown
    fi
fi

if [ -n "$AUDIT" ]; then
    # Names of files, on purpose split at spaces.
    # shellcheck disable=SC2086
    compare "replay of recorded decisions" authz replay $AUDIT --policies "$POLICIES" --markdown
fi

exit "$failed"
