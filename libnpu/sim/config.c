/* config.c - reads the measures of a simulated NPU. */
#include "libnpu/sim/config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/sim/isa.h"

const struct sim_config sim_config_default = {
    .rows = 32,
    .cols = 32,
    .wm = 128 << 10,
    .im = 128 << 10,
    .acc = 128 << 10,
    .um = 512 << 10,
    .ib = 64,
    .lanes = 32,
    .clock_hz = 800e6,
    .bytes_per_s = 12.8e9,
    .latency = 100,
    .stay = 1,
    .seed = 1,
};

/* A number with a unit letter; false if there is anything else or it is out of [least, most]. */
static bool number(const char *text, double kilo, double least, double most, double *ret)
{
    static const char letters[] = "KMG";
    char *end;
    double v = strtod(text, &end);
    const char *unit = *end ? strchr(letters, *end) : NULL;

    if (end == text)
        return false;
    for (long k = unit ? unit - letters + 1 : 0; k > 0; k--)
        v *= kilo;
    if (unit)
        end++;
    if (*end || !(v >= least && v <= most))
        return false;
    *ret = v;
    return true;
}

static bool set(struct sim_config *c, const char *key, const char *text)
{
    const struct {
        const char *key;
        uint32_t *bytes;
    } memories[] = {{"wm", &c->wm}, {"im", &c->im}, {"acc", &c->acc}, {"um", &c->um}};
    const struct {
        const char *key;
        int *value;
        int least, most;
    } counts[] = {{"ib", &c->ib, 1, 65536},
                  {"lanes", &c->lanes, 1, 4096},
                  {"lat", &c->latency, 0, 100000},
                  {"stay", &c->stay, 0, 1}};
    double v;

    for (size_t k = 0; k < sizeof memories / sizeof memories[0]; k++)
        if (strcmp(key, memories[k].key) == 0) {
            if (!number(text, 1024, 256, SIM_MAX_ON_CHIP, &v) || v != (uint32_t)v || (uint32_t)v % 64)
                return false;
            *memories[k].bytes = (uint32_t)v;
            return true;
        }
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
        if (strcmp(key, counts[k].key) == 0) {
            if (!number(text, 1000, counts[k].least, counts[k].most, &v) || v != (int)v)
                return false;
            *counts[k].value = (int)v;
            return true;
        }
    if (strcmp(key, "clock") == 0)
        return number(text, 1000, 1e3, 1e12, &c->clock_hz);
    if (strcmp(key, "bw") == 0)
        return number(text, 1000, 1e3, 1e15, &c->bytes_per_s);
    if (strcmp(key, "seed") != 0 || !number(text, 1000, 0, 1e15, &v) || v != (double)(uint64_t)v)
        return false;
    c->seed = (uint64_t)v;
    return true;
}

static bool set_array(struct sim_config *c, const char *word)
{
    int rows, cols, n = 0;

    if (sscanf(word, "%dx%d%n", &rows, &cols, &n) != 2 || word[n] || rows < 1 || cols < 1 || rows > SIM_MAX_ARRAY ||
        cols > SIM_MAX_ARRAY)
        return false;
    c->rows = rows;
    c->cols = cols;
    return true;
}

int sim_config_parse(const char *text, struct sim_config *ret_config, char *why, size_t size)
{
    struct sim_config c = sim_config_default;

    while (*text) {
        size_t n = strcspn(text, ",");
        char word[48], *eq;

        snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word), text);
        eq = strchr(word, '=');
        if (eq)
            *eq = '\0';
        if (n >= sizeof word || !(eq ? set(&c, word, eq + 1) : set_array(&c, word))) {
            snprintf(why, size,
                     "\"%.*s\": want ROWSxCOLS (at most %d), wm, im, acc, um (multiples of 64 bytes, at most %uM), ib, "
                     "lanes, clock, bw, lat, stay (0 or 1) or seed",
                     (int)(n < sizeof word ? n : sizeof word), text, SIM_MAX_ARRAY, SIM_MAX_ON_CHIP >> 20);
            return -EINVAL;
        }
        text += n + (text[n] == ',');
    }
    *ret_config = c;
    return 0;
}
