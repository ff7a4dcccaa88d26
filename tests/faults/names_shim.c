/* A name server that does as it is told, for names that end in ".test": linked into the tests, and loaded into limpetd
   before its libraries. The file that LIMPET_NAMES names is read at each look-up and has a line for each name:
     zk1.test 0 127.0.0.1        its address, after so many milliseconds
     zk2.test 20000 !-3          an error of getaddrinfo
   A name that is not there does not exist. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Lookup(const char*, const char*, const struct addrinfo*, struct addrinfo**);

int getaddrinfo(const char* restrict node, const char* restrict service, const struct addrinfo* restrict hints,
                struct addrinfo** restrict found) {
  Lookup* const real = (Lookup*)dlsym(RTLD_NEXT, "getaddrinfo");
  const char* const file_name = getenv("LIMPET_NAMES");
  const size_t length = node == NULL ? 0 : strlen(node);
  if (file_name == NULL || length < 5 || strcmp(node + length - 5, ".test") != 0) {
    return real(node, service, hints, found);
  }
  FILE* const file = fopen(file_name, "re");
  char name[256];
  char answer[64];
  long milliseconds = 0;
  while (file != NULL && fscanf(file, "%255s %ld %63s", name, &milliseconds, answer) == 3) {
    if (strcmp(name, node) == 0) {
      fclose(file);
      const struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
      nanosleep(&wait, NULL);
      return answer[0] == '!' ? atoi(answer + 1) : real(answer, service, hints, found);
    }
  }
  if (file != NULL) {
    fclose(file);
  }
  return EAI_NONAME;
}
