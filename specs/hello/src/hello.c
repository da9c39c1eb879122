/* Greets whom its argument names, and says so if the greeting could not be written. */
#include <stdio.h>
#include <stdlib.h>

int main(int argument_count, char **arguments)
{
    const char *name = argument_count > 1 ? arguments[1] : "world";

    if (printf("hello, %s\n", name) < 0 || fflush(stdout) != 0)
    {
        perror("hello");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
