"""A wall clock that can be set, for the processes of a test alone: CLOCK_REALTIME is moved, every other clock stays true.

By a library of forty lines that stands before libc's: libfaketime also bends the waiting by CLOCK_MONOTONIC, which a clock
that is set never does.
"""

import pathlib
import shutil
import struct
import subprocess

import pytest

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none, *shift = &none;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WALL_CLOCK_SHIFT");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (fd < 0) return;
    void *page = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shift = page;
    close(fd);
}

int clock_gettime(clockid_t which, struct timespec *at) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, at);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


class WallClock:
    """What `env` is given to reads this clock. Skips where there is no C compiler."""

    def __init__(self, folder: pathlib.Path) -> None:
        if (compiler := shutil.which("cc")) is None:
            pytest.skip("a wall clock that can be set needs a C compiler, and there is no `cc` here")
        library, source, self._shift = (folder / name for name in ("clock.so", "clock.c", "shift"))
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self._shift.write_bytes(struct.pack("=q", 0))
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK_SHIFT": str(self._shift)}

    def move(self, seconds: int) -> None:
        """Set it so much off the true time, for everybody who reads it, at this moment."""
        with self._shift.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))
