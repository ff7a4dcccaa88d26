/* Loaded into limpetd by LD_PRELOAD: a system that has few threads to give, as TasksMax= makes one. pthread_create fails
 * with EAGAIN while as many threads run as LIMPET_TEST_THREADS says, beside the first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

struct start {
  void *(*run)(void *);
  void *argument;
};

static atomic_int running;

static void ended(void *unused) {
  (void)unused;
  atomic_fetch_sub(&running, 1);
}

static void *run(void *argument) {
  struct start start = *(struct start *)argument;
  void *result;
  free(argument);
  pthread_cleanup_push(ended, NULL);
  result = start.run(start.argument);
  pthread_cleanup_pop(1);
  return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument) {
  const create_fn create = (create_fn)dlsym(RTLD_NEXT, "pthread_create");
  const char *limit = getenv("LIMPET_TEST_THREADS");
  struct start *start = malloc(sizeof *start);
  int error = EAGAIN;
  if (start == NULL) {
    return EAGAIN;
  }
  start->run = routine;
  start->argument = argument;
  if (atomic_fetch_add(&running, 1) < (limit != NULL ? atoi(limit) : 1000)) {
    error = create(thread, attributes, run, start);
  }
  if (error != 0) {
    atomic_fetch_sub(&running, 1);
    free(start);
  }
  return error;
}
