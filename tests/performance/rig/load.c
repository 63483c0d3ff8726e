/* load KEY=VALUE …: keeps `streams` clients of an OpenAI-compatible gateway busy, reads every answer and compares its text.
 *
 * port, path, key, model   where to ask, and as whom
 * streams=1                open at once; they begin spread over `ramp` ms
 * calls=0 seconds=0        end after so many calls, or start none after so many seconds (each client makes one at least)
 * tokens delay first batch what is ordered (rig.h); every `stamped`-th client orders stamps; whole=1: no streaming
 * fresh=1                  a new connection for each call
 * patience=20              seconds without a byte that make a call a failure; `limit` seconds end everything
 *
 * Prints one JSON object. Times are in microseconds.
 */
#include "rig.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
enum { IDLE, CONNECTING, HEAD, BODY };

typedef struct {
    int fd, state, number, calls, stamped, status, chunked, closes, streams, done, finished, stamps, words;
    long left; /* bytes of the open chunk, or of the body */
    char name[NAME_BYTES];
    Buffer out, head, line, text;
    size_t sent;
    uint64_t began, first, last, heard;
} Client;

typedef struct { uint64_t count, bins[64 * 64]; } Histogram;

static struct { const char *name; double value; } numbers[] = {
    {"port", 8080}, {"streams", 1}, {"calls", 0}, {"seconds", 0}, {"ramp", 0}, {"tokens", 50}, {"delay", 0}, {"first", -1},
    {"batch", 1}, {"stamped", 0}, {"whole", 0}, {"fresh", 0}, {"patience", 20}, {"limit", 60},
};
enum { PORT, STREAMS, CALLS, SECONDS, RAMP, TOKENS, DELAY, FIRST, BATCH, STAMPED, WHOLE, FRESH, PATIENCE, LIMIT };
#define N(which) ((int)numbers[which].value)
static const char *words[][2] = {{"path", "/v1/chat/completions"}, {"key", "sk-rig"}, {"model", "rig"}, {"header", ""}};
enum { PATH, KEY, MODEL, HEADER };

static int poller, running;
static uint64_t start, names, calls, right, deltas, last_end;
static double tokens;
static struct { char kind[16]; unsigned long count; char sample[200]; } failures[12];
static Histogram first_token, gap, call_time, to_upstream, transit, first_transit;

static int bin(uint64_t value) {
    if (value < 128) return value;
    int power = 57 - __builtin_clzll(value);
    return power * 64 + 64 + ((value >> power) & 63);
}
static void note(Histogram *histogram, uint64_t value) { histogram->count++, histogram->bins[bin(value)]++; }
static double quantile(const Histogram *histogram, double share) {
    uint64_t seen = 0, wanted = share * histogram->count;
    for (int i = 0; i < 64 * 64; i++)
        if ((seen += histogram->bins[i]) > wanted) return (i < 128 ? i : (64.5 + (i & 63)) * (1ull << (i / 64 - 1))) / 1e3;
    return 0;
}

static void failed(const char *kind, const char *detail) {
    int i = 0;
    while (i < 10 && *failures[i].kind && strcmp(failures[i].kind, kind)) i++;
    strcpy(failures[i].kind, kind);
    if (failures[i].count++) return;
    for (const char *at = detail; *at && at < detail + 150; at++) failures[i].sample[at - detail] = *at == '"' || *at == '\\' || *at < 32 ? ' ' : *at; /* plain, inside JSON */
}

/* --- the answer's text ------------------------------------------------------------------------------------------------ */

static const char *add_character(Buffer *text, const char *at) {
    static const char escapes[] = "n\nt\tr\rb\bf\f";
    unsigned code, low;
    if (*at != '\\') return add(text, at, 1), at + 1;
    if (at[1] != 'u') {
        const char *found = strchr(escapes, at[1]);
        return add(text, found ? found + 1 : at + 1, 1), at + 2;
    }
    sscanf(at + 2, "%4x", &code), at += 6;
    if (code >> 10 == 0xd800 >> 10 && sscanf(at, "\\u%4x", &low) == 1) code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), at += 6;
    char bytes[4] = {code >> 18 | 0xf0, (code >> 12 & 63) | 0x80, (code >> 6 & 63) | 0x80, (code & 63) | 0x80};
    if (code < 0x80) bytes[3] = code;
    else if (code < 0x800) bytes[2] = code >> 6 | 0xc0;
    else if (code < 0x10000) bytes[1] = code >> 12 | 0xe0;
    int length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    return add(text, bytes + 4 - length, length), at;
}

/* The rig's words never look like keys of JSON, so the keys can be looked for. */
static void read_json(Client *client, const char *json, uint64_t now) {
    size_t before = client->text.length;
    for (const char *at = json; (at = strstr(at, "\"content\":"));) {
        at += 10 + strspn(at + 10, " ");
        if (*at++ == '"') while (*at && *at != '"') at = add_character(&client->text, at);
    }
    if (strstr(json, "\"finish_reason\":\"") || strstr(json, "\"finish_reason\": \"")) client->finished = 1;
    char kind[16];
    sprintf(kind, "error %d", client->status);
    if (strstr(json, "\"error\":")) failed(kind, json), client->status = 0;
    if (client->text.length == before) return;
    deltas++;
    note(client->first ? &gap : &first_token, now - (client->first ? client->last : client->began));
    if (!client->first) client->first = now;
    client->last = now;
    for (; client->stamped && client->stamps < N(TOKENS) && client->text.length >= (client->stamps + 1u) * STAMP_DIGITS; client->stamps++) {
        char digits[STAMP_DIGITS + 1] = "";
        memcpy(digits, client->text.bytes + client->stamps * STAMP_DIGITS, STAMP_DIGITS);
        uint64_t stamp = strtoull(digits, NULL, 16);
        if (client->stamps == 0) note(&to_upstream, stamp - client->began);
        else note(client->stamps == 1 ? &first_transit : &transit, now - stamp);
    }
}

static void read_body(Client *client, const char *data, size_t length, uint64_t now) {
    add(&client->line, data, length);
    if (!client->streams) return;
    char *line = client->line.bytes, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (!strncmp(line, "data: [DONE]", 12)) client->done = 1;
        else if (!strncmp(line, "data:", 5)) read_json(client, line + 5, now);
    }
    drop(&client->line, line - client->line.bytes);
}

static int text_is_right(Client *client) {
    Buffer wanted = {0};
    if (client->stamped) return client->stamps == N(TOKENS); /* a gateway may hide something behind the text */
    add(&wanted, client->name, strlen(client->name)), add(&wanted, " ", 1);
    for (int i = 1; i < N(TOKENS); i++) add(&wanted, word(seed_of(client->name), i), strlen(word(seed_of(client->name), i)));
    /* Some gateways trim an answer's last blank, or hide something behind the text. */
    int right = client->text.length >= wanted.length - 1 && !memcmp(client->text.bytes, wanted.bytes, wanted.length - 1);
    free(wanted.bytes);
    return right;
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

static void watch(Client *client, int writing, int operation) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (writing ? EPOLLOUT : 0), .data.ptr = client};
    epoll_ctl(poller, operation, client->fd, &event);
}

static int may_begin(Client *client) {
    double passed = (now_ns() - start) / 1e9;
    if (passed > N(LIMIT)) return 0;
    if (N(CALLS)) return (long)names < N(CALLS);
    return client->calls == 0 || passed < numbers[SECONDS].value;
}

static void end_call(Client *client, int keep, const char *failure) {
    uint64_t now = now_ns();
    if (client->state == BODY && !client->streams) read_json(client, client->line.bytes ? client->line.bytes : "", now), client->done = 1;
    if (!failure && client->status != 200) failure = client->status ? "status" : "";
    if (!failure && (!client->done || !client->finished)) failure = "no end";
    if (!failure && !text_is_right(client)) failure = "wrong text";
    if (failure && *failure) failed(failure, client->line.length ? client->line.bytes : client->head.length ? client->head.bytes : "");
    tokens += failure ? 0 : N(TOKENS);
    calls++, right += !failure, last_end = now, running--;
    if (!failure) note(&call_time, now - client->began);
    if (failure || !keep || N(FRESH)) close(client->fd), client->fd = -1;
    client->state = IDLE;
}

static void send_out(Client *client) {
    ssize_t sent = send(client->fd, client->out.bytes + client->sent, client->out.length - client->sent, MSG_NOSIGNAL);
    if (sent > 0) client->sent += sent;
    watch(client, client->sent < client->out.length, EPOLL_CTL_MOD);
}

static void begin(Client *client) {
    char body[600], first[24] = "", request[1200];
    sprintf(client->name, "%lx", (unsigned long)(names++ + (start >> 10)) & 0xffffffff);
    if (N(FIRST) >= 0) sprintf(first, " first=%d", N(FIRST));
    int length = sprintf(body, "{\"model\":\"%s\",%s\"messages\":[{\"role\":\"user\",\"content\":\"Say something. " ORDERS "tokens=%d delay=%d%s batch=%d stamp=%d name=%s]]\"}]}",
        words[MODEL][1], N(WHOLE) ? "" : "\"stream\":true,\"stream_options\":{\"include_usage\":true},", N(TOKENS), N(DELAY), first, N(BATCH), client->stamped, client->name);
    client->out.length = client->head.length = client->line.length = client->text.length = client->sent = 0;
    add(&client->out, request, sprintf(request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s%sContent-Length: %d\r\n\r\n%s",
        words[PATH][1], words[KEY][1], words[HEADER][1], *words[HEADER][1] ? "\r\n" : "", length, body));
    client->status = client->chunked = client->closes = client->streams = client->done = client->finished = client->stamps = client->left = 0;
    client->first = client->last = 0;
    client->calls++, running++;
    client->began = client->heard = now_ns();
    client->state = HEAD;
    if (client->fd >= 0) return send_out(client);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(N(PORT)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connect(client->fd, (void *)&address, sizeof address);
    client->state = CONNECTING;
    watch(client, 1, EPOLL_CTL_ADD);
}

static const char *field(Client *client, const char *name) {
    const char *found = strcasestr(client->head.bytes, name);
    return found ? found + strlen(name) : NULL;
}

static void feed(Client *client, const char *data, size_t length, uint64_t now) {
    if (client->state == HEAD) {
        size_t before = client->head.length;
        add(&client->head, data, length);
        char *end = strstr(client->head.bytes, "\r\n\r\n");
        if (!end) return;
        end[2] = 0;
        size_t head = end + 4 - client->head.bytes - before;
        client->head.length = end + 2 - client->head.bytes;
        client->status = atoi(client->head.bytes + 9);
        client->chunked = field(client, "\r\ntransfer-encoding: chunked") != NULL;
        client->streams = field(client, "\r\ncontent-type: text/event-stream") != NULL;
        client->closes = field(client, "\r\nconnection: close") != NULL;
        const char *given = field(client, "\r\ncontent-length:");
        client->left = given ? atol(given) : client->chunked ? 0 : -1;
        client->state = BODY;
        data += head, length -= head;
    }
    while (client->chunked && length) {
        if (client->left > 2) { /* the line break behind a chunk is counted with it */
            size_t now_here = length < (size_t)client->left - 2 ? length : (size_t)client->left - 2;
            read_body(client, data, now_here, now);
            client->left -= now_here, data += now_here, length -= now_here;
        } else if (client->left) client->left--, data++, length--;
        else { /* the size line; it may come in pieces, kept behind the head */
            add(&client->head, data, 1), data++, length--;
            if (data[-1] != '\n') continue;
            const char *line = client->head.bytes + client->head.length - 2;
            while (line > client->head.bytes && line[-1] != '\n') line--;
            if (*line == '\r') return end_call(client, !client->closes, NULL); /* the empty line behind the last chunk */
            long size = strtol(line, NULL, 16);
            client->left = size ? size + 2 : 0;
        }
    }
    if (client->chunked) return;
    read_body(client, data, length, now);
    if (client->left >= 0 && (client->left -= length) <= 0) end_call(client, !client->closes, NULL);
}

static void on_event(Client *client, unsigned events) {
    static char data[1 << 18];
    if (client->fd < 0) return;
    if (client->state == CONNECTING) client->state = HEAD;
    if (events & EPOLLOUT) send_out(client);
    if (!(events & ~EPOLLOUT)) return;
    ssize_t got = recv(client->fd, data, sizeof data, 0);
    if (got > 0) feed(client, data, got, client->heard = now_ns());
    else if (got < 0 && errno == EAGAIN) return;
    else if (client->state == IDLE) close(client->fd), client->fd = -1;
    else if (got == 0 && client->state == BODY && client->left < 0) end_call(client, 0, NULL);
    else end_call(client, 0, client->state == BODY ? "cut" : errno == ECONNREFUSED ? "refused" : "closed");
}

static void print_times(const char *name, const Histogram *histogram) {
    if (histogram->count) printf(",\"%s\":{\"p50\":%.1f,\"p99\":%.1f}", name, quantile(histogram, .5), quantile(histogram, .99));
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        size_t length = strcspn(arguments[i], "="), known = 0;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) if (strlen(numbers[n].name) == length && !strncmp(arguments[i], numbers[n].name, length)) numbers[n].value = atof(arguments[i] + length + 1), known = 1;
        for (size_t n = 0; n < sizeof words / sizeof *words; n++) if (strlen(words[n][0]) == length && !strncmp(arguments[i], words[n][0], length)) words[n][1] = arguments[i] + length + 1, known = 1;
        if (!known) return fprintf(stderr, "unknown: %s\n", arguments[i]), 2;
    }
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    poller = epoll_create1(0);
    start = now_ns();
    Client *clients = calloc(N(STREAMS), sizeof *clients);
    struct epoll_event events[512];
    int launched = 0;
    for (uint64_t scanned = start;;) {
        uint64_t now = now_ns();
        for (int burst = 0; launched < N(STREAMS) && burst < 64 && (now - start) / 1e6 >= numbers[RAMP].value * launched / N(STREAMS); burst++, launched++) {
            Client *client = &clients[launched];
            client->fd = -1, client->number = launched;
            client->stamped = N(STAMPED) && launched % N(STAMPED) == N(STAMPED) - 1;
            if (may_begin(client)) begin(client);
        }
        int got = epoll_wait(poller, events, 512, launched < N(STREAMS) ? 1 : 100);
        for (int i = 0; i < got; i++) {
            Client *client = events[i].data.ptr;
            on_event(client, events[i].events);
            if (client->state == IDLE && may_begin(client)) begin(client);
        }
        now = now_ns();
        if (now - scanned > 200000000) {
            scanned = now;
            for (int i = 0; i < launched; i++)
                if (clients[i].state != IDLE && (now - clients[i].heard > numbers[PATIENCE].value * 1e9 || now - start > numbers[LIMIT].value * 1e9)) end_call(&clients[i], 0, "too late");
        }
        if (launched == N(STREAMS) && !running) break;
    }
    printf("{\"calls\":%lu,\"right\":%lu,\"seconds\":%.3f,\"tokens\":%.0f,\"deltas\":%lu,\"failures\":{", calls, right, (last_end - start) / 1e9, tokens, deltas);
    for (int i = 0; *failures[i].kind; i++) printf("%s\"%s\":[%lu,\"%s\"]", i ? "," : "", failures[i].kind, failures[i].count, failures[i].sample);
    printf("}");
    print_times("first_token", &first_token), print_times("gap", &gap), print_times("call", &call_time);
    print_times("to_upstream", &to_upstream), print_times("transit", &transit), print_times("first_transit", &first_transit);
    printf("}\n");
}
