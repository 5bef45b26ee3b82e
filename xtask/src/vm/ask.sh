# What a guest is asked; its words are read from the console. LEAKTRACE_ASK is `start` or `all`,
# LEAKTRACE_SCENARIOS the words that choose scenarios.

now() {
    read -r up _ </proc/uptime
    echo "$up"
}

echo VM-DOCTOR
leaktrace doctor --json
echo VM-CHECK
begun=$(now)
leaktrace check -- true
status=$?
echo "VM-CLEAN $status $begun $(now)"
# What people are told; every start is long where the machine is emulated.
[ "$LEAKTRACE_ASK $status" = "start 0" ] || leaktrace doctor
# It cannot trace here, and has said why.
[ $status = 77 ] && exit 0

begun=$(now)
leaktrace check -- sh -c 'mkdir /tmp/left'
echo "VM-LEAK $? $begun $(now)"
rmdir /tmp/left
# The same while the clock of the day goes back an hour and then on by two: nothing else may be said
# to be left, and what is left was made by this run.
begun=$(now)
leaktrace check -- sh -c 'date -s @$(($(date +%s) - 3600)); mkdir /tmp/left
    date -s @$(($(date +%s) + 7200))'
echo "VM-STEP $? $begun $(now)"
rmdir /tmp/left
# Many short processes on two processors: where the kernel skips programs, it skips them here.
mkdir /make
cd /make || exit 1
{
    echo 'parts := $(shell seq 40)'
    echo 'all: $(parts:%=part%)'
    printf 'part%%:\n\t@for i in 1 2 3; do cat /etc/hosts /etc/group >draft$*.$$i; done\n'
    printf '\t@cat draft$*.* >draft$*; rm draft$*.*; mv draft$* $@\n'
} >Makefile
status=0
# The first of each name is the whole run's.
value() {
    sed -n "s/^ *\"$1\": \([a-z0-9]*\),*\$/\1/p" /make.json | head -n 1
}
# The sum of all of them; null, which a kernel that does not count says, stays null.
processes=0 produced=0 lost=0 not_run=0
plus() {
    case $2 in
        null) echo null ;;
        *) echo $(($1 + $2)) ;;
    esac
}
for run in $(seq "${LEAKTRACE_MAKES:-1}"); do
    rm -f part*
    leaktrace check -q -f json:/make.json -- make -s -j8
    ended=$?
    [ $ended = 75 ] && sed -n '/"inconclusive_because"/,/\]/p' /make.json
    # Another status than 0 stays, the worst of two that a run can end with.
    [ $ended -gt $status ] && status=$ended
    processes=$(plus $processes "$(grep -c '"ns_pid"' /make.json)")
    produced=$(plus $produced "$(value produced)")
    lost=$(plus $lost "$(value lost)")
    not_run=$(plus $not_run "$(value not_run)")
done
echo "VM-MAKE {\"status\":$status,\"processes\":$processes," \
    "\"produced\":$produced,\"lost\":$lost,\"not_run\":$not_run}"
cd /root || exit 1
rm -r /make
[ "$LEAKTRACE_ASK" = start ] && exit 0

# Emulated, a fork takes as long as a dozen elsewhere: fewer do for what is told of many, and for all
# numbers to be used up.
if [ "$LEAKTRACE_VM" = emulated ]; then
    export LEAKTRACE_TABLE_CHILDREN=300
    echo 8192 >/proc/sys/kernel/pid_max
fi
# What a scenario needs and a stock kernel has apart.
while read -r module; do
    busybox insmod "/modules/$module" || echo "VM-NO-MODULE $module"
done </modules/order
export LEAKTRACE_BIN=/usr/local/bin/leaktrace
echo VM-LIST
scenario --list
echo VM-SCENARIOS
# Two at a time: there are two processors.
# Without quotes: they are words, of letters and colons.
scenario --color=never --test-threads=2 $LEAKTRACE_SCENARIOS
