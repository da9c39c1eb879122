/* Makes COUNT directories in each other, named NAME, from the current one: deep COUNT NAME [FILE TEXT].
   Goes down into those that are there, and appends TEXT to FILE in the last. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **words) {
    for (long level = atol(words[1]); level > 0; level--)
        if ((mkdir(words[2], 0755) && errno != EEXIST) || chdir(words[2]))
            return perror(words[2]), 1;
    if (count < 5)
        return 0;
    int file = open(words[3], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0 || write(file, words[4], strlen(words[4])) < 0)
        return perror(words[3]), 1;
    return 0;
}
