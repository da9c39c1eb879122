#!/bin/bash
# overlay-bench.sh - side-by-side timing of overlay-like filesystems.
#
# Every target starts each repetition from the same lower tree and an empty
# upper, runs the same workloads, and the repetitions of the targets are
# interleaved.  Output: one TSV line per sample, and a table of medians with
# the ratio to the first target (normally "native").
#
#   ./overlay-bench.sh -w DIR [-l LOWERTREE] [-r REPS] [-o OUT.tsv] [-k REGEX] TARGET...
#   [STAT=min] ./overlay-bench.sh -s OUT.tsv [BASE]   # only print the table again
#             (STAT=min: minimum instead of median - for a machine others use)
#
#   TARGET is  NAME=MOUNT-COMMAND  run by "bash -c"; in it
#       {lower} {upper} {work} {merged}  are replaced by absolute paths.
#       The special command "native" copies the lower tree into {merged}.
#       A server that stays in the foreground must be put in the background by
#       the command itself; the script waits until {merged} is a mount point.
#       NAME:ns=...  runs the mount command and all workloads inside a fresh
#       user+mount namespace (rootless); root's uid 0 is mapped to itself only.
#
#   -w DIR    scratch on the filesystem under test.  With "-d IMG" the script
#             makes a loop-mounted ext4 there: then "cold" = that filesystem is
#             unmounted and mounted again (nothing outside it is dropped from
#             the page cache).  Without -d, cold = drop_caches (whole machine).
#   -l TREE   tree to use as lower (default: copy of /usr/share /usr/include).
#             Three generated trees are added: b/rm b/ch (5000 files in 100
#             directories each) and b/git (3000 files), fixed seed.
#   -k REGEX  only workloads whose name matches.
#   -q SEC    wait at most SEC seconds for a quiet machine before a sample
#             (non-nice CPU use of everybody under 12 %); default 15, 0 = never.
#
# Needs: bash, perl, git, GNU tar, findutils, coreutils, fio, gcc, javac, b3sum (cargo install b3sum); root.
#
# Example:
#   ./overlay-bench.sh -w DIR -d IMG -l ROOT -r 5 -o ovb.tsv \
#     native=native \
#     'overlay=mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={work} {merged}' \
#     'fo-1.10=fuse-overlayfs -o lowerdir={lower},upperdir={upper},workdir={work} {merged}' \
#     'rbuild=overlay-mount -o lowerdir={lower},upperdir={upper},workdir={work} {merged}'
set -u
export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 HOME="${TMPDIR:-/tmp}/overlay-bench-home"
mkdir -p "$HOME"; git config --global user.email b@b 2>/dev/null; git config --global user.name b 2>/dev/null
git config --global gc.auto 0; git config --global core.fsyncMethod batch; git config --global --add safe.directory '*' 2>/dev/null

W='' L='' R=3 OUT='' IMG='' KEEP='.' QUIET=15 SUMM='' SIZE=14G
while getopts w:l:r:o:d:k:q:s:z: f; do case $f in
  w) W=$OPTARG;; l) L=$OPTARG;; r) R=$OPTARG;; o) OUT=$OPTARG;; d) IMG=$OPTARG;;
  k) KEEP=$OPTARG;; q) QUIET=$OPTARG;; s) SUMM=$OPTARG;; z) SIZE=$OPTARG;;
  *) exit 2;; esac; done; shift $((OPTIND-1))

summary() { # FILE [BASE]
perl -e '
  my ($file,$base)=@ARGV; open F,$file or die; my (%v,@t,@w,%ts,%ws);
  while(<F>){chomp; my($t,$w,$r,$s,$ok)=split /\t/; next if $t eq "target"; push @{$v{$w}{$t}},$s;
    push @t,$t unless $ts{$t}++; push @w,$w unless $ws{$w}++; $bad{$w}{$t}++ if $ok ne "0";}
  $base//=$t[0]; sub med{my @a=sort{$a<=>$b}@_; my $n=@a; return $a[0] if ($ENV{STAT}//"") eq "min"; $n%2?$a[$n/2]:($a[$n/2-1]+$a[$n/2])/2}
  print "| workload | ".join(" | ",map{"$_"}@t)." |\n|---".("|---:"x@t)."|\n"; my %lg;
  for my $w(@w){ my $b=$v{$w}{$base}?med(@{$v{$w}{$base}}):0; my @c;
    for my $t(@t){ if(!$v{$w}{$t}){push @c,"-";next} my $m=med(@{$v{$w}{$t}}); my $x=$b?$m/$b:0;
      if($b){$lg{$t}[0]+=log($x);$lg{$t}[1]++}
      push @c, sprintf("%.2f%s%s",$m,$t eq $base?"":sprintf(" (%.1fx)",$x),$bad{$w}{$t}?" !":"") }
    print "| $w | ".join(" | ",@c)." |\n"; }
  print "| **geometric mean of ratios** | ".join(" | ",map{$lg{$_}[1]?sprintf("%.2fx",exp($lg{$_}[0]/$lg{$_}[1])):"-"}@t)." |\n";
  print "\nseconds, ".($ENV{STAT}//"median")." of ".scalar(@{$v{$w[0]}{$t[0]}})."; (x) = ratio to $base; ! = a sample exited non-zero\n";
' "$@"; }
if [ -n "$SUMM" ]; then summary "$SUMM" "$@"; exit; fi
[ -n "$W" ] && [ $# -gt 0 ] || { sed -n 2,40p "$0"; exit 2; }
OUT=${OUT:-overlay-bench.tsv}; case $OUT in /*) ;; *) OUT=$PWD/$OUT;; esac
mkdir -p "$W"

gen() { # DIR NFILES NDIRS SEED : deterministic small files (median ~3 KiB, max 64 KiB)
perl -e 'my($d,$n,$nd,$s)=@ARGV; srand($s); mkdir $d; my $blk=join("",map{chr(32+int rand 95)}1..65536);
  for my $i(0..$n-1){ my $sd=sprintf("%s/d%03d",$d,$i%$nd); mkdir $sd unless -d $sd;
    my $z=int(exp(8+1.1*(rand()+rand()+rand()-1.5)*2)); $z=65536 if $z>65536;
    open my $f,">","$sd/file-$i.c"; print $f substr($blk,int rand(65536-$z+1),$z); close $f }' "$@"; }

if [ -n "$IMG" ]; then
  if ! mountpoint -q "$W"; then
    [ -e "$IMG" ] || { fallocate -l $SIZE "$IMG"; mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$IMG"; }
    LOOP=$(losetup --direct-io=on --show -f "$IMG"); mount "$LOOP" "$W"
  else LOOP=$(findmnt -no SOURCE "$W"); fi
fi
if [ ! -e "$W/lower/.complete" ]; then
  echo "building lower tree" >&2; rm -rf "$W/lower"; mkdir -p "$W/lower" "$W/src"
  if [ -n "$L" ]; then cp -a "$L/." "$W/lower/"; else cp -a /usr/share /usr/include "$W/lower/"; fi
  mkdir -p "$W/lower/b"
  gen "$W/lower/b/rm" 5000 100 1; gen "$W/lower/b/rm2" 5000 100 2; gen "$W/lower/b/ch" 5000 100 3; gen "$W/lower/b/git" 3000 60 4
  rm -rf "$W/src/cp"; gen "$W/src/cp" 5000 100 5
  dd if=/dev/urandom of="$W/lower/b/big" bs=1M count=512 status=none
  cp /bin/true "$W/lower/b/true"; chmod 755 "$W/lower/b/true"
  mkdir "$W/lower/b/cc"; for i in $(seq 100); do
    printf '#include <stdio.h>\n#include <stdlib.h>\nint f%d(int n) { return printf("%%d", n) + abs(n); }\n' $i \
      > "$W/lower/b/cc/$i.c"; done
  mkdir "$W/lower/b/java"; for i in $(seq 300); do
    echo "class C$i { static int value() { return $i + C$((i % 300 + 1)).class.hashCode(); } }" >"$W/lower/b/java/C$i.java"
  done
  touch "$W/lower/.complete"; sync
fi
echo "lower: $(find "$W/lower" -xdev | wc -l) entries, $(du -sm "$W/lower" | cut -f1) MiB" >&2

cur=''; ns=''
in_ns() { if [ -n "$ns" ]; then nsenter -t "$ns" -U -m --preserve-credentials -- "$@"; else "$@"; fi; }
up() { # NAME CMD
  local n=$1 c=$2; B=$W/t-${n//[^A-Za-z0-9._-]/_}; M=$B/merged; mkdir -p $B/upper $B/work $M
  ns=''; if [[ $n == *:ns ]]; then
    unshare -U -m --map-root-user --propagation private sleep 100000 & ns=$!; sleep 0.3; fi
  if [ "$c" = native ]; then
    if [ ! -e "$B/copied" ]; then cp -a "$W/lower/." "$M/"; touch "$B/copied"; fi
  else
    c=${c//\{lower\}/$W/lower}; c=${c//\{upper\}/$B/upper}; c=${c//\{work\}/$B/work}; c=${c//\{merged\}/$M}
    in_ns bash -c "$c" >"$W/$n.log" 2>&1 </dev/null
    for i in $(seq 100); do in_ns mountpoint -q "$M" && break; sleep 0.05; done
    in_ns mountpoint -q "$M" || { echo "$n: not mounted: $(cat "$W/$n.log")" >&2; exit 1; }
  fi; cur=$n; }
down() { if [ -n "$cur" ]; then cd /; in_ns mountpoint -q "$M" && { in_ns umount "$M" 2>/dev/null || { sleep 1; in_ns umount -l "$M"; }; }
  [ -n "$ns" ] && kill $ns 2>/dev/null && wait $ns 2>/dev/null; ns=''; cur=''; sleep 0.2; fi; }
wipe() { down; rm -rf "$B"; }
cold() { # remount target with cold caches, keeping upper
  local n=$cur c=$CMD; down; sync
  if [ -n "$IMG" ]; then cd /; for i in $(seq 100); do umount "$W" 2>/dev/null && break; sleep 0.3; done
    mountpoint -q "$W" && { echo "cannot unmount $W" >&2; exit 1; }; mount "$LOOP" "$W"
  else echo 3 > /proc/sys/vm/drop_caches; fi; up "$n" "$c"; }
again() { # a fresh mount, the bytes below it still in the page cache
  local n=$cur c=$CMD; down; up "$n" "$c"; }
busy() { # percent of non-nice, non-idle CPU of the machine over 0.3 s
  local a b; read -r _ a1 n1 s1 i1 w1 q1 f1 t1 _ < /proc/stat; sleep 0.3; read -r _ a2 n2 s2 i2 w2 q2 f2 t2 _ < /proc/stat
  local u=$(( (a2-a1)+(s2-s1)+(q2-q1)+(f2-f1)+(t2-t1) )) all=$(( (a2-a1)+(n2-n1)+(s2-s1)+(i2-i1)+(w2-w1)+(q2-q1)+(f2-f1)+(t2-t1) ))
  echo $(( 100*u/(all?all:1) )); }
quiet() { local i; [ "$QUIET" = 0 ] && return; for i in $(seq $((QUIET*3))); do [ "$(busy)" -lt 12 ] && return; done; }
t() { # WORKLOAD COMMAND [UNTIMED-WARM-UP]  (run with cwd = merged)
  local w=$1 s e rc; [[ $w =~ $KEEP ]] || return 0
  [ -n "${3:-}" ] && in_ns bash -c "cd '$M' || exit 97; $3" >/dev/null 2>&1; quiet
  s=$EPOCHREALTIME; in_ns bash -c "cd '$M' || exit 97; $2" >/dev/null 2>"$W.err"; rc=$?; e=$EPOCHREALTIME
  [ $rc = 0 ] || echo "$cur $w rc=$rc: $(head -3 "$W.err")" >&2
  printf '%s\t%s\t%d\t%.4f\t%d\n' "$cur" "$w" "$rep" "$(echo "$e - $s" | bc -l)" "$rc" | tee -a "$OUT" >&2; }
steps() { # twenty times: mount, write one file, unmount, say what changed. A plain directory only writes and hashes.
  local n=$cur c=$CMD i s e rc=0; [ -z "$ns" ] || return 0; quiet
  if [ "$c" = native ]; then c=:; else down; fi # of the real mount: before B and M mean another one
  local B=$B-steps M=$B-steps/merged
  mkdir -p "$B"/{upper,work,merged}
  c=${c//\{lower\}/$W/lower}; c=${c//\{upper\}/$B/upper}; c=${c//\{work\}/$B/work}; c=${c//\{merged\}/$M}
  mounted() { [ "$c" = : ] || until mountpoint -q "$M"; do sleep 0.001; done; }
  if [ "$c" != : ]; then bash -c "$c"; mounted; umount "$M"; sleep 1; fi # an index is written once
  s=$EPOCHREALTIME
  for i in $(seq 20); do
    rm -rf "$B/upper"/*; bash -c "$c" >/dev/null 2>&1 || rc=$?; mounted; echo "$i" >"$M/one" || rc=$?
    if [ "$c" = : ]; then b3sum "$M/one" >/dev/null; continue; fi
    umount "$M"
    if [ -e "$B/work/rbuild/lock" ]; then flock "$B/work/rbuild/lock" true; continue; fi
    while pgrep -f "$M\$" >/dev/null; do sleep 0.001; done
    find "$B/upper" -type f -print0 | xargs -0r b3sum >/dev/null
  done; e=$EPOCHREALTIME; rm -rf "$B"
  printf '%s\t%s\t%d\t%.4f\t%d\n' "$n" steps-20 "$rep" "$(echo "$e - $s" | bc -l)" "$rc" | tee -a "$OUT" >&2
  [ "$CMD" = native ] || up "$n" "$CMD"; }
want() { [[ $1 =~ $KEEP ]]; }

MK='for(1..10000){open F,">",sprintf("%s/f%05d",$ARGV[0],$_) or die; close F} for(1..10000){unlink sprintf("%s/f%05d",$ARGV[0],$_) or die}'
FIO="fio --name=r --filename=b/big --readonly --rw=randread --bs=4k --size=512m --ioengine=psync --randseed=7 --allrandrepeat=1 --minimal --output=/dev/null"
printf 'target\tworkload\trep\tseconds\trc\n' >> "$OUT"
trap 'down' EXIT
for rep in $(seq $R); do for T in "$@"; do
  N=${T%%=*}; CMD=${T#*=}; case $N in *:ns) ;; esac
  up "$N" "$CMD"
  # --- metadata, data: cold and warm, nothing modified
  if want find-cold; then cold; t find-cold 'find . -xdev -ls'; fi
  t find-warm 'find . -xdev -ls' 'find . -xdev -ls'
  t find-warm-2p 'find usr -xdev -ls & find bin sbin lib b etc var -xdev -ls & wait'
  if want tar-cold; then cold; t tar-cold 'tar cf - --exclude=./b/big . | cat'; fi
  t tar-warm 'tar cf - --exclude=./b/big . | cat' 'tar cf - --exclude=./b/big . | cat'
  t tar-warm-2p 'tar cf - usr/share | cat & tar cf - usr/lib usr/include usr/bin b/git b/ch | cat & wait'
  t cat-warm 'find b usr/share usr/include -xdev -type f ! -name big -print0 | xargs -0 cat' 'find b usr/share usr/include -xdev -type f ! -name big -print0 | xargs -0 cat'
  if want fresh-find; then again; t fresh-find 'find . -xdev -ls'; fi
  if want fresh-tar; then again; t fresh-tar 'tar cf - --exclude=./b/big . | cat'; fi
  if want fresh-gcc; then again; t fresh-gcc 'for i in $(seq 100); do gcc -c -o "cc$i.o" "b/cc/$i.c" || exit; done'; fi
  if want fresh-javac; then again; t fresh-javac 'mkdir classes && javac -d classes b/java/*.java'; fi
  if want steps-20; then steps; fi
  if want seqread-cold; then cold; t seqread-cold 'dd if=b/big of=/dev/null bs=1M status=none'; fi
  t seqread-warm 'dd if=b/big of=/dev/null bs=1M status=none' 'cat b/big'
  if want randread-cold; then cold; t randread-cold "$FIO --number_ios=20000 --invalidate=0"; cat b/big >/dev/null 2>&1; fi
  t randread-warm "$FIO --number_ios=131072 --invalidate=0" 'cat b/big'
  t exec-1k "perl -e 'for(1..1000){system(\"./b/true\")}'"
  # --- writing
  t cp5k-in "cp -a '$W/src/cp' ./cpdst"
  t create-unlink-10k "mkdir cu && perl -e '$MK' cu"
  t create-unlink-10k-2p "mkdir cu1 cu2 && (perl -e '$MK' cu1 & perl -e '$MK' cu2 & wait)"
  t seqwrite-512m 'dd if=/dev/zero of=big1 bs=1M count=512 status=none'
  t seqwrite-512m-fsync 'dd if=/dev/zero of=big2 bs=1M count=512 conv=fsync status=none'
  t write-4k-x32k 'dd if=/dev/zero of=big3 bs=4k count=32768 status=none'
  t git-init-add-status 'cd b/git && git init -q . && git add -A && git status && git -c gc.auto=0 commit -qm x && git status'
  # --- copy-up and removal of lower entries
  t chmod-R-5k 'chmod -R g+w b/ch'
  t append-5k 'find b/ch -type f -print0 | xargs -0 perl -e "for(@ARGV){open F,q(>>),\$_ or die; print F q(x)}"'
  t rm-rf-lower-5k 'rm -rf b/rm'
  t rm-rf-lower-2p 'rm -rf b/rm2/d0[0-4]* & rm -rf b/rm2/d0[5-9]* & wait'
  t find-after 'find . -xdev -ls'
  wipe
done; done
trap - EXIT
summary "$OUT"
