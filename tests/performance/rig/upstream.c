/* upstream PORT: a Dify, and beside it an OpenAI, that answers as the question orders (rig.h) and costs next to nothing.
 *
 * One thread, epoll. Routes: Dify's /v1/info, /v1/parameters, /v1/chat-messages and …/stop; OpenAI's
 * /openai/v1/chat/completions and /openai/v1/models; /stats.
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

#define SLOTS 4096 /* of the timer wheel, 1 ms each */

typedef struct Peer {
    int fd, is_openai, waits_for_room, closes;
    Buffer in, out; /* out: what the socket did not take */
    int streams, tokens, delay, batch, stamp, next;
    unsigned seed;
    char name[NAME_BYTES + 1];
    uint64_t asked_at, due; /* ns, ms */
    char id[40], head[400], tail[160];
    struct Peer *after, **link; /* its place in the wheel or among those that send at once */
} Peer;

static int poller;
static Peer *wheel[SLOTS], *at_once;
static uint64_t wheel_at, ids;
static struct { unsigned long requests, active, aborted, stops; } stats;

static void leave(Peer *peer) {
    if (!peer->link) return;
    *peer->link = peer->after;
    if (peer->after) peer->after->link = peer->link;
    peer->link = NULL;
}

static void join(Peer *peer, Peer **list) {
    leave(peer);
    peer->after = *list;
    if (*list) (*list)->link = &peer->after;
    peer->link = list;
    *list = peer;
}

static void schedule(Peer *peer, uint64_t due) {
    peer->due = due > wheel_at ? due : wheel_at + 1;
    join(peer, &wheel[peer->due % SLOTS]);
}

static void end_stream(Peer *peer) {
    if (peer->streams) stats.active--;
    peer->streams = 0;
    leave(peer);
}

static void hang_up(Peer *peer) {
    if (peer->fd < 0) return;
    stats.aborted += peer->streams;
    end_stream(peer);
    close(peer->fd);
    peer->fd = -1; /* released by whoever called */
}

static void watch(Peer *peer, int operation) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (peer->waits_for_room ? EPOLLOUT : 0), .data.ptr = peer};
    epoll_ctl(poller, operation, peer->fd, &event);
}

static void send_out(Peer *peer) {
    while (peer->out.length) {
        ssize_t sent = send(peer->fd, peer->out.bytes, peer->out.length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return hang_up(peer);
        if (sent < 0) break;
        drop(&peer->out, sent);
    }
    if (!peer->out.length && peer->closes && !peer->streams) return hang_up(peer);
    if (peer->waits_for_room == !peer->out.length) {
        peer->waits_for_room = !!peer->out.length;
        watch(peer, EPOLL_CTL_MOD);
    }
}

static void add_token(Peer *peer, Buffer *out, int chunked) {
    char text[STAMP_DIGITS + NAME_BYTES + 2];
    int number = peer->next++;
    const char *token = text;
    if (peer->stamp) sprintf(text, "%0*lx", STAMP_DIGITS, number ? now_ns() : peer->asked_at);
    else if (number == 0) sprintf(text, "%s ", peer->name);
    else token = escaped_word(peer->seed, number);
    if (chunked) add_chunk(out, peer->head, token, peer->tail);
    else add(out, token, strlen(token));
}

static void add_end(Peer *peer) {
    char end[1200], usage[100];
    sprintf(usage, "{\"prompt_tokens\":11,\"completion_tokens\":%d,\"total_tokens\":%d}", peer->tokens, peer->tokens + 11);
    if (peer->is_openai)
        sprintf(end, "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"rig\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                     "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"rig\",\"choices\":[],\"usage\":%s}\n\ndata: [DONE]\n\n", peer->id, peer->id, usage);
    else
        sprintf(end, "data: {\"event\":\"message_end\",\"conversation_id\":\"%s\",\"message_id\":\"%s\",\"created_at\":1,\"task_id\":\"%s\",\"id\":\"%s\",\"metadata\":{\"usage\":%s,\"retriever_resources\":[]},\"files\":null}\n\n",
                peer->id, peer->id, peer->id, peer->id, usage);
    add_chunk(&peer->out, end, "", "");
    add(&peer->out, "0\r\n\r\n", 5);
}

/* The next send of a stream. */
static void step(Peer *peer) {
    if (peer->waits_for_room) return schedule(peer, peer->due + 1);
    for (int i = 0; i < peer->batch && peer->next < peer->tokens; i++) add_token(peer, &peer->out, 1);
    if (peer->next >= peer->tokens) {
        add_end(peer);
        end_stream(peer);
    } else if (peer->delay) schedule(peer, peer->due + peer->delay);
    else join(peer, &at_once);
    send_out(peer);
}

static void begin_stream(Peer *peer, int first) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    peer->streams = 1;
    stats.active++;
    add(&peer->out, head, sizeof head - 1);
    if (peer->is_openai) {
        sprintf(peer->head, "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"rig\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", peer->id);
        strcpy(peer->tail, "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
        add_chunk(&peer->out, "data: {\"id\":\"", peer->id, "\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"rig\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n");
    } else {
        sprintf(peer->head, "data: {\"event\":\"message\",\"conversation_id\":\"%s\",\"message_id\":\"%s\",\"created_at\":1764000000,\"task_id\":\"%s\",\"id\":\"%s\",\"answer\":\"", peer->id, peer->id, peer->id, peer->id);
        strcpy(peer->tail, "\",\"from_variable_selector\":null}\n\n");
    }
    peer->due = now_ns() / 1000000 + first;
    if (first) schedule(peer, peer->due);
    else join(peer, &at_once);
    send_out(peer);
}

static void reply(Peer *peer, const char *status, const char *body, size_t length) {
    char head[200];
    add(&peer->out, head, sprintf(head, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", status, length));
    add(&peer->out, body, length);
    send_out(peer);
}

static void reply_whole(Peer *peer) {
    Buffer body = {0};
    char part[300];
    add(&body, part, sprintf(part, "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"rig\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"", peer->id));
    while (peer->next < peer->tokens) add_token(peer, &body, 0);
    add(&body, part, sprintf(part, "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":%d,\"total_tokens\":%d}}", peer->tokens, peer->tokens + 11));
    reply(peer, "200 OK", body.bytes, body.length);
    free(body.bytes);
}

static int order(const char *orders, const char *name, int otherwise) {
    const char *found = strstr(orders, name), *end = strstr(orders, "]]");
    return found && end && found < end ? atoi(found + strlen(name)) : otherwise;
}

static void answer(Peer *peer, const char *question) {
    const char *orders = strstr(question, ORDERS), *name = orders ? strstr(orders, " name=") : NULL;
    if (!name) return reply(peer, "400 Bad Request", "{}", 2);
    sscanf(name + 6, "%24[0-9a-z]", peer->name);
    peer->seed = seed_of(peer->name);
    peer->tokens = order(orders, " tokens=", 50);
    peer->delay = order(orders, " delay=", 0);
    peer->batch = order(orders, " batch=", 1);
    peer->stamp = order(orders, " stamp=", 0);
    peer->next = 0;
    ids++;
    sprintf(peer->id, "%08lx-0000-4000-8000-%012lx", ids & 0xffffffff, ids);
    int whole = peer->is_openai && !strstr(question, "\"stream\":true") && !strstr(question, "\"stream\": true");
    if (whole) reply_whole(peer);
    else begin_stream(peer, order(orders, " first=", peer->delay));
}

static void handle(Peer *peer, const char *head, const char *body) {
    char text[400];
    stats.requests++;
    peer->asked_at = now_ns();
    peer->is_openai = !!strstr(head, " /openai/");
    if (strstr(head, " /stats ")) reply(peer, "200 OK", text, sprintf(text, "{\"requests\":%lu,\"active\":%lu,\"aborted\":%lu,\"stops\":%lu}", stats.requests, stats.active, stats.aborted, stats.stops));
    else if (strstr(head, "/stop ")) stats.stops++, reply(peer, "200 OK", "{\"result\":\"success\"}", 20);
    else if (strstr(head, "/chat-messages ") || strstr(head, "/chat/completions ")) answer(peer, body);
    else if (strstr(head, " /v1/info ")) reply(peer, "200 OK", text, sprintf(text, "{\"name\":\"rig\",\"description\":\"\",\"tags\":[],\"mode\":\"chat\"}"));
    else if (strstr(head, " /v1/parameters ")) reply(peer, "200 OK", text, sprintf(text, "{\"opening_statement\":\"\",\"user_input_form\":[],\"file_upload\":{\"image\":{\"enabled\":false}},\"system_parameters\":{}}"));
    else if (strstr(head, "/models ")) reply(peer, "200 OK", text, sprintf(text, "{\"object\":\"list\",\"data\":[{\"id\":\"rig\",\"object\":\"model\",\"created\":1,\"owned_by\":\"rig\"}]}"));
    else reply(peer, "404 Not Found", "{}", 2);
}

/* The length of a request's body, decoded in place if chunked; -1: more must come. *used: its bytes on the wire. */
static long whole_body(Peer *peer, char *body, size_t *used) {
    size_t there = peer->in.bytes + peer->in.length - body, at = 0, length = 0, size = 1;
    const char *field = strcasestr(peer->in.bytes, "\r\ncontent-length:");
    if (field || !strcasestr(peer->in.bytes, "\r\ntransfer-encoding: chunked")) {
        *used = field ? strtoul(field + 17, NULL, 10) : 0;
        return there < *used ? -1 : (long)*used;
    }
    if (there < 5 || memcmp(body + there - 5, "0\r\n\r\n", 5)) return -1; /* nobody pipelines here */
    for (*used = there; size; length += size) {
        char *chunk = (char *)memchr(body + at, '\n', there - at) + 1;
        size = strtoul(body + at, NULL, 16);
        at = chunk + size + 2 - body;
        memmove(body + length, chunk, size);
    }
    return length;
}

static void take_requests(Peer *peer) {
    while (peer->fd >= 0 && !peer->streams && peer->in.length) {
        char *end = strstr(peer->in.bytes, "\r\n\r\n");
        if (!end) return;
        char *body = end + 4, kept;
        size_t used;
        *end = 0; /* the head ends here, so its fields are not looked for in the body */
        int closes = strcasestr(peer->in.bytes, "\r\nconnection: close") != NULL;
        long length = whole_body(peer, body, &used);
        if (length < 0) {
            *end = '\r';
            return;
        }
        peer->closes = closes;
        kept = body[length];
        body[length] = 0;
        handle(peer, peer->in.bytes, body);
        body[length] = kept;
        if (peer->fd >= 0) drop(&peer->in, body + used - peer->in.bytes);
    }
}

static void receive(Peer *peer) {
    ssize_t got;
    while ((got = recv(peer->fd, room(&peer->in, 16385), 16384, 0)) > 0) {
        peer->in.length += got;
        peer->in.bytes[peer->in.length] = 0;
    }
    if (got == 0 || errno != EAGAIN) return hang_up(peer);
    take_requests(peer);
}

static void release(Peer *peer) { free(peer->in.bytes), free(peer->out.bytes), free(peer); }

static void run(Peer *peer) {
    step(peer);
    if (peer->fd < 0) release(peer);
}

static void run_wheel(void) {
    for (uint64_t now = now_ns() / 1000000; wheel_at < now;) {
        Peer *peer = wheel[++wheel_at % SLOTS], *next;
        for (; peer; peer = next) {
            next = peer->after;
            if (peer->due <= wheel_at) run(peer);
        }
    }
}

int main(int count, char **arguments) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(arguments[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&address, length) || listen(listener, 4096)) return perror("upstream"), 1;
    getsockname(listener, (void *)&address, &length);
    printf("%d\n", ntohs(address.sin_port)), fflush(stdout);
    poller = epoll_create1(0);
    struct epoll_event waiting = {.events = EPOLLIN}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &waiting);
    wheel_at = now_ns() / 1000000;
    for (;;) {
        int got = epoll_wait(poller, events, 512, at_once ? 0 : stats.active ? 1 : 1000);
        for (int i = 0; i < got; i++) {
            Peer *peer = events[i].data.ptr;
            if (!peer) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    peer = calloc(1, sizeof *peer);
                    peer->fd = fd;
                    watch(peer, EPOLL_CTL_ADD);
                }
                continue;
            }
            if (events[i].events & EPOLLOUT) send_out(peer), peer->fd >= 0 ? take_requests(peer) : (void)0;
            if (peer->fd >= 0 && events[i].events & ~EPOLLOUT) receive(peer);
            if (peer->fd < 0) release(peer); /* a round has one event of each */
        }
        run_wheel();
        for (Peer *peer = at_once, *next; peer; peer = next) next = peer->after, run(peer);
    }
}
