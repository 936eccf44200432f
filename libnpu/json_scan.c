/* json_scan.c - a small JSON reader (RFC 8259) for headers of files. */
#include "libnpu/json_scan.h"

#include <string.h>

static bool fail(struct json_scan *s, const char *why)
{
    if (!s->error)
        s->error = why;
    return false;
}

void json_space(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

bool json_eat(struct json_scan *s, char c)
{
    if (s->error)
        return false;
    json_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

bool json_expect(struct json_scan *s, char c)
{
    static const char *const why[] = {"expected {", "expected }", "expected [",
                                      "expected ]", "expected :", "expected ,"};
    const char *p = strchr("{}[]:,", c);

    return json_eat(s, c) || fail(s, p ? why[p - "{}[]:,"] : "unexpected character");
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex4(struct json_scan *s, unsigned *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end || hex(*s->at) < 0)
            return fail(s, "bad \\u escape");
        *ret = *ret << 4 | (unsigned)hex(*s->at);
    }
    return true;
}

static size_t utf8(unsigned c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* After a backslash: the characters it stands for. */
static bool escape(struct json_scan *s, char out[4], size_t *ret_n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned c, low;
    const char *p;

    if (s->at == s->end)
        return fail(s, "string without an end");
    *ret_n = 1;
    if (*s->at != 'u') {
        p = memchr(from, *s->at, sizeof from - 1);
        if (!p)
            return fail(s, "bad escape");
        s->at++;
        out[0] = to[p - from];
        return true;
    }
    s->at++;
    if (!hex4(s, &c))
        return false;
    if (c >= 0xd800 && c < 0xdc00) {
        if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
            return fail(s, "half a surrogate pair");
        s->at += 2;
        if (!hex4(s, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(s, "half a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if ((c >= 0xdc00 && c < 0xe000) || c == 0) {
        return fail(s, "bad character in a string");
    }
    *ret_n = utf8(c, out);
    return true;
}

bool json_string(struct json_scan *s, char *buf, size_t size)
{
    size_t n = 0;

    if (!json_eat(s, '"'))
        return fail(s, "expected a string");
    while (s->at < s->end && *s->at != '"') {
        char c[4] = {*s->at++};
        size_t k = 1;

        if ((unsigned char)c[0] < 0x20)
            return fail(s, "control character in a string");
        if (c[0] == '\\' && !escape(s, c, &k))
            return false;
        if (n + k >= size)
            return fail(s, "string is too long");
        memcpy(buf + n, c, k);
        n += k;
    }
    if (s->at == s->end)
        return fail(s, "string without an end");
    s->at++;
    buf[n] = '\0';
    return true;
}

bool json_count(struct json_scan *s, int64_t *ret)
{
    int64_t v = 0;
    const char *start;

    if (s->error)
        return false;
    json_space(s);
    for (start = s->at; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s->at - '0', &v))
            return fail(s, "number is too large");
    if (s->at == start)
        return fail(s, "expected a whole number");
    if (s->at - start > 1 && *start == '0')
        return fail(s, "number with leading zeros");
    if (s->at < s->end && (*s->at == '.' || *s->at == 'e' || *s->at == 'E'))
        return fail(s, "expected a whole number");
    *ret = v;
    return true;
}

static bool skip_string(struct json_scan *s)
{
    for (; s->at < s->end && *s->at != '"'; s->at++) {
        if ((unsigned char)*s->at < 0x20)
            return fail(s, "control character in a string");
        if (*s->at == '\\' && ++s->at == s->end)
            break;
    }
    if (s->at == s->end)
        return fail(s, "string without an end");
    s->at++;
    return true;
}

static bool skip_word(struct json_scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *s->at))
        s->at++;
    return s->at > start || fail(s, "expected a value");
}

static bool skip_items(struct json_scan *s, char close, bool keys)
{
    if (++s->depth > s->max_depth)
        return fail(s, "nested too deeply");
    if (!json_eat(s, close)) {
        do {
            if (keys && !(json_eat(s, '"') ? skip_string(s) && json_expect(s, ':') : fail(s, "expected a key")))
                return false;
            if (!json_skip(s))
                return false;
        } while (json_eat(s, ','));
        if (!json_expect(s, close))
            return false;
    }
    s->depth--;
    return true;
}

bool json_skip(struct json_scan *s)
{
    if (json_eat(s, '{'))
        return skip_items(s, '}', true);
    if (json_eat(s, '['))
        return skip_items(s, ']', false);
    if (json_eat(s, '"'))
        return skip_string(s);
    return !s->error && skip_word(s);
}
