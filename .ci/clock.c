/* What `.ci/at` loads before a program's libraries: the time of day is CLOCK_AHEAD seconds ahead (or behind).
 * It leaves alone what measures how long something takes: sleeps, timeouts, the monotonic clock. (libfaketime 0.9.10
 * breaks Python's: it refuses sleeps, and waits for locks that have a timeout end the process.)
 * A process with a bare environment gets it too, such as an embedded server.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char *handed_on[] = {NULL, NULL}; /* LD_PRELOAD=... and CLOCK_AHEAD=... */
static time_t seconds;

__attribute__((constructor)) static void begin(void) {
  const char *library = getenv("LD_PRELOAD"), *text = getenv("CLOCK_AHEAD");
  if (!library || !text) return;
  seconds = atol(text);
  if (asprintf(&handed_on[0], "LD_PRELOAD=%s", library) < 0 || asprintf(&handed_on[1], "CLOCK_AHEAD=%s", text) < 0)
    abort();
}

/* Nothing here allocates: a child of vfork shares the memory of its parent. */
int execve(const char *path, char *const arguments[], char *const environment[]) {
  static int (*real)(const char *, char *const[], char *const[]);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "execve");
  size_t count = 0;
  int has = !handed_on[1];
  for (; environment && environment[count]; count++) has |= !strncmp(environment[count], "CLOCK_AHEAD=", 12);
  if (has) return real(path, arguments, environment);
  char *all[count + 3];
  memcpy(all, handed_on, sizeof handed_on);
  if (count) memcpy(all + 2, environment, count * sizeof *all);
  all[count + 2] = NULL;
  return real(path, arguments, all);
}

int execv(const char *path, char *const arguments[]) { return execve(path, arguments, environ); }

int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(id, now);
  if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  int failed = clock_gettime(CLOCK_REALTIME, &exact);
  if (!failed && now) *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
  return failed;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}
