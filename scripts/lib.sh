# shellcheck shell=bash disable=SC2154
# Shared by ./run and ./test: configure and build a preset, quietly. Sourced by bash, with `root` set to the repository.

jobs=${RAISON_JOBS:-$(nproc)}

say() { printf '%s\n' "$*" >&2; }

# configure PRESET: only where there is no usable build folder yet (ninja runs cmake again by itself for all else).
configure() {
  local dir=$root/build/$1 cache=$root/build/$1/CMakeCache.txt
  # CMake refuses a build folder that was moved or copied; nothing in it is worth keeping then.
  if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache"; then rm -rf "$dir"; fi
  if [ -f "$dir/build.ninja" ] && [ "$dir/build.ninja" -nt "$root/CMakePresets.json" ]; then return 0; fi
  (cd "$root" && cmake --preset "$1")
}

# build_preset PRESET TARGET...: configures and builds; the whole output goes to stdout.
build_preset() {
  local preset=$1
  shift
  configure "$preset" && NINJA_STATUS='[%f/%t] ' cmake --build "$root/build/$preset" -j "$jobs" --target "$@"
}

# build_quietly PRESET TARGET...: the same for a person: silent when there is nothing to do, else one progress line on
# stderr; all output in build/PRESET.log, whose end is shown on failure.
build_quietly() {
  local preset=$1 log=$root/build/$1.log start=$SECONDS rc=0 step
  mkdir -p "$root/build"
  # A process group of its own, so that Ctrl+C ends the whole build: a shell's background jobs ignore it otherwise.
  set -m
  build_preset "$@" >"$log" 2>&1 </dev/null &
  set +m
  local pid=$! waited=0
  # shellcheck disable=SC2064
  trap "kill -- -$pid 2>/dev/null || true" EXIT
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.1
    waited=$((waited + 1))
    if [ "$waited" -eq 20 ] && [ ! -t 2 ]; then say "building ($preset, $jobs at a time; log: build/$preset.log)"; fi
    if [ "$waited" -ge 20 ] && [ -t 2 ] && [ $((waited % 5)) -eq 0 ]; then
      step=$(grep -o '^\[[0-9]*/[0-9]*\]' "$log" | tail -n 1 || true)
      printf '\r\033[Kbuilding %s %s (%d s)' "$preset" "$step" $((SECONDS - start)) >&2
    fi
  done
  wait "$pid" || rc=$?
  trap - EXIT
  if [ "$waited" -ge 20 ] && [ -t 2 ]; then printf '\r\033[K' >&2; fi
  if [ "$rc" -ne 0 ]; then
    grep -E -A 12 'FAILED:|error:|Error' "$log" | tail -n 40 >&2 || tail -n 25 "$log" >&2
    say "the build failed (above); all of it: build/$preset.log"
    return 1
  fi
  if [ "$waited" -ge 20 ]; then say "built $preset in $((SECONDS - start)) s"; fi
}
