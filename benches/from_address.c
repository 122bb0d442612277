/* Gives a client an address of its own on loopback: LD_PRELOAD this, with FROM_ADDRESS=127.0.1.1. smtp-source can't be
 * told, and both servers bound how many connections one address may hold. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    const char *text = getenv("FROM_ADDRESS");
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (text && to->sa_family == AF_INET && inet_pton(AF_INET, text, &from.sin_addr) == 1)
        bind(fd, (struct sockaddr *)&from, sizeof from);
    return real(fd, to, length);
}
