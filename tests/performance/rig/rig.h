/* What the upstream and the load generator have in common: the orders, the text of an answer, the clock. */
#ifndef RIG_H
#define RIG_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Orders travel inside the question, so they pass through any gateway:
 *
 *     [[rig tokens=100 delay=40 first=40 batch=1 stamp=0 name=1a]]
 *
 * tokens  answer events
 * delay   ms between two sends, 0: as fast as the socket takes them
 * first   ms before the first one
 * batch   answer events in one send
 * stamp   1: each token is the time of its send (16 hex digits, CLOCK_MONOTONIC, ns); the first one is the time at
 *         which the question was here
 * name    token 0, and what the text depends on: answers that got mixed up show
 */
#define ORDERS "[[rig "
#define STAMP_DIGITS 16
#define NAME_BYTES 24

/* 4 to 6 characters each, as models make them: some CJK, some that JSON escapes, one outside of the BMP. */
static const char *const WORDS[] = {
    " the ", "model",  " of a ", "token",   "ing, ",  "数据流处", "ment ", "way. ",  "answer",   " and ", "工作流节点", "tion ",
    " from", "的回答是", "\"quo\"", " ches", "open",   "一个例子", "line\n", " that ", "服务接口", " call", "语言模型 ", "(see)",
    " 2024", " it's",  "back\\", "<b>x ",   "&amp;", "tab\tx",  "emo😀ji", " end. ",
};
#define WORD_COUNT (sizeof WORDS / sizeof *WORDS)

static inline unsigned seed_of(const char *name) {
    unsigned sum = 0;
    while (*name) sum += (unsigned char)*name++;
    return sum;
}

static inline const char *word(unsigned seed, int number) { return WORDS[(seed + number) % WORD_COUNT]; }

/* The same as JSON writes it; escaped once. */
static inline const char *escaped_word(unsigned seed, int number) {
    static char escaped[WORD_COUNT][64];
    char *to = escaped[(seed + number) % WORD_COUNT], *const made = to;
    if (*made) return made;
    for (const char *from = word(seed, number); *from; from++) {
        if (strchr("\"\\\n\t", *from)) *to++ = '\\';
        *to++ = *from == '\n' ? 'n' : *from == '\t' ? 't' : *from;
    }
    return made;
}

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
}

static inline void allow_many_files(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A growing piece of memory. */
typedef struct {
    char *bytes;
    size_t length, size;
} Buffer;

static inline char *room(Buffer *buffer, size_t more) {
    if (buffer->length + more > buffer->size) {
        buffer->size = (buffer->length + more) * 2;
        buffer->bytes = realloc(buffer->bytes, buffer->size);
        if (!buffer->bytes) abort();
    }
    return buffer->bytes + buffer->length;
}

static inline void add(Buffer *buffer, const void *bytes, size_t length) {
    memcpy(room(buffer, length + 1), bytes, length);
    buffer->length += length;
    buffer->bytes[buffer->length] = 0;
}

static inline void drop(Buffer *buffer, size_t length) {
    memmove(buffer->bytes, buffer->bytes + length, buffer->length - length + 1);
    buffer->length -= length;
}

/* A chunk of a body that is sent in chunks; its data is given in three parts. */
static inline void add_chunk(Buffer *out, const char *head, const char *text, const char *tail) {
    char size[16];
    size_t lengths[] = {strlen(head), strlen(text), strlen(tail)};
    add(out, size, sprintf(size, "%zx\r\n", lengths[0] + lengths[1] + lengths[2]));
    add(out, head, lengths[0]);
    add(out, text, lengths[1]);
    add(out, tail, lengths[2]);
    add(out, "\r\n", 2);
}

#endif
