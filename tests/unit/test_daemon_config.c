/* gazed.conf's parser, its messages, and that manual and sample file know the same keys. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config.h"
#include "daemon/log.h"

static void assert_message(const char *text, size_t size, int want, const char *message)
{
    struct config c = config_default(), before = c;
    char got[CONFIG_MESSAGE_MAX] = "";
    int r = config_parse(&c, text, size, "f", got);
    if (r != want || strcmp(got, message) != 0)
        fail_msg("%.40s: %d \"%s\", wanted %d \"%s\"", text, r, got, want, message);
    assert_memory_equal(&c, &before, sizeof(c)); /* all or nothing */
}

static void good_text(void **state)
{
    static const char text[] =
        "# comment\n\n  ; another\r\n source = file:/a b/c.mjpeg \r\nfps=29.97\n\twidth\t=\t640\n"
        "device = gpu , cpu\nmax-clients = 1\nloop = no\nlog_level = debug\ncache_dir =\n"
        "socket=/tmp/x=y\nheartbeat_s = 5e-1";
    struct config c = config_default();
    char message[CONFIG_MESSAGE_MAX] = "";
    assert_int_equal(config_parse(&c, text, sizeof(text) - 1, "f", message), 0);
    assert_string_equal(message, "");
    assert_string_equal(c.source, "file:/a b/c.mjpeg");
    assert_true(c.fps == 29.97 && c.heartbeat_s == 0.5);
    assert_int_equal(c.width, 640);
    assert_int_equal(c.max_clients, 1);
    assert_false(c.loop);
    assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(c.cache_dir, "");
    assert_string_equal(c.socket, "/tmp/x=y");
    char devices[64];
    config_format_devices(c.devices, CONFIG_DEVICES_MAX, devices, sizeof(devices));
    assert_string_equal(devices, "gpu,cpu");
    assert_int_equal(config_parse(&c, "", 0, "f", message), 0);
}

static void bad_text(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *message;
    } rows[] = {
        {"sorce = v4l2", -ENOENT, "f:1: unknown key \"sorce\", did you mean \"source\"?"},
        {"\n\nheartbeat = 2", -ENOENT, "f:3: unknown key \"heartbeat\", did you mean \"heartbeat_s\"?"},
        {"MaxClients = 2", -ENOENT, "f:1: unknown key \"MaxClients\", did you mean \"max_clients\"?"},
        {"xyzzy = 2", -ENOENT, "f:1: unknown key \"xyzzy\""},
        {"= 2", -ENOENT, "f:1: unknown key \"\""},
        {"[camera]", -EINVAL, "f:1: no \"=\" in \"[camera]\": wanted key = value"},
        {"fps = 30\nwidth = 1.5", -EINVAL, "f:2: bad value \"1.5\" for width: wanted a whole number from 0 to 4096"},
        {"width = 4097", -EINVAL, "f:1: bad value \"4097\" for width: wanted a whole number from 0 to 4096"},
        {"width = -1", -EINVAL, "f:1: bad value \"-1\" for width: wanted a whole number from 0 to 4096"},
        {"width =", -EINVAL, "f:1: bad value \"\" for width: wanted a whole number from 0 to 4096"},
        {"fps = nan", -EINVAL, "f:1: bad value \"nan\" for fps: wanted a number from 0 to 1000"},
        {"fps = 0x10", -EINVAL, "f:1: bad value \"0x10\" for fps: wanted a number from 0 to 1000"},
        {"fps = 1e999", -EINVAL, "f:1: bad value \"1e999\" for fps: wanted a number from 0 to 1000"},
        {"loop = maybe", -EINVAL, "f:1: bad value \"maybe\" for loop: wanted yes or no"},
        {"log_level = loud", -EINVAL,
         "f:1: bad value \"loud\" for log_level: wanted error, warning, notice, info or debug"},
        {"device = gpu,gpu", -EINVAL,
         "f:1: bad value \"gpu,gpu\" for device: wanted auto, or a list of npu, gpu, cpu, ref, sim, best first"},
        {"device = gpu,", -EINVAL,
         "f:1: bad value \"gpu,\" for device: wanted auto, or a list of npu, gpu, cpu, ref, sim, best first"},
        {"device =", -EINVAL,
         "f:1: bad value \"\" for device: wanted auto, or a list of npu, gpu, cpu, ref, sim, best first"},
        {"source = webcam", -EINVAL,
         "f:1: bad value \"webcam\" for source: wanted auto, v4l2, v4l2:/dev/videoN or file:PATH"},
        {"faces_max = 17", -EINVAL, "f:1: bad value \"17\" for faces_max: wanted a whole number from 1 to 16"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_message(rows[i].text, strlen(rows[i].text), rows[i].status, rows[i].message);
    assert_message("fps\0= 1", 7, -EINVAL, "f:1: not a text file");
}

static void limits_of_length(void **state)
{
    char line[1100], message[CONFIG_MESSAGE_MAX];
    struct config c = config_default();
    memset(line, 'x', sizeof(line));
    memcpy(line, "socket = /", 10);
    assert_int_equal(config_parse(&c, line, 9 + 107, "f", message), 0);
    assert_int_equal(strlen(c.socket), 107);
    assert_message(line, 9 + 108, -EINVAL, "f:1: value for socket is too long: at most 107 bytes");
    assert_message(line, 1023, -EINVAL, "f:1: value for socket is too long: at most 107 bytes");
    assert_message(line, 1024, -EINVAL, "f:1: line is longer than 1023 bytes");
    memset(line, 'k', sizeof(line)); /* a key of any length */
    memcpy(line + 900, " = 1", 4);
    assert_int_equal(config_parse(&c, line, 904, "f", message), -ENOENT);
}

/* Any bytes: an answer, no crash (the sanitizers watch). */
static void any_bytes(void **state)
{
    static const char alphabet[] = "=\n #;,._-devicfps0129\t\r\"[]\0x";
    uint32_t random = 42;
    for (int n = 0; n < 20000; n++) {
        char text[64], message[CONFIG_MESSAGE_MAX] = "";
        struct config c = config_default();
        size_t size = (random >> 8) % sizeof(text);
        for (size_t i = 0; i < size; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = random >> 31 ? (char)(random >> 16) : alphabet[(random >> 16) % sizeof(alphabet)];
        }
        random = random * 1664525 + 1013904223;
        int r = config_parse(&c, text, size, "f", message);
        assert_true(r == 0 || (r < 0 && message[0]));
    }
}

static void every_key_goes_out_and_in(void **state)
{
    struct config a = config_default();
    char message[CONFIG_MESSAGE_MAX], value[CONFIG_TEXT_MAX];
    assert_int_equal(config_set(&a, "hfov_deg", "61.25", message), 0);
    assert_int_equal(config_set(&a, "device", "sim,ref", message), 0);
    for (size_t i = 0; config_key(i); i++) {
        struct config b = a;
        int length = config_format(&a, i, value, sizeof(value));
        assert_true(length >= 0);
        assert_int_equal(config_set(&b, config_key(i), value, message), 0);
        assert_memory_equal(&a, &b, sizeof(a));
        if (length > 0)
            assert_int_equal(config_format(&a, i, value, (size_t)length), -ENOSPC);
        assert_string_equal(config_nearest_key(config_key(i)), config_key(i));
    }
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = calloc(1, CONFIG_FILE_MAX);
    assert_non_null(text);
    size_t n = fread(text, 1, CONFIG_FILE_MAX - 1, f);
    assert_true(n > 0);
    fclose(f);
    return text;
}

static void manual_and_sample_know_every_key(void **state)
{
    char *manual = read_file("docs/man/gazed.conf.5"), *sample = read_file("systemd/gazed.conf.in");
    for (size_t i = 0; config_key(i); i++) {
        char in_manual[64], in_sample[64];
        snprintf(in_manual, sizeof(in_manual), ".B %s\n", config_key(i));
        snprintf(in_sample, sizeof(in_sample), "\n#%s = ", config_key(i));
        if (!strstr(manual, in_manual) || !strstr(sample, in_sample))
            fail_msg("%s is missing in docs/man/gazed.conf.5 or systemd/gazed.conf.in", config_key(i));
    }
    /* The sample shows the built-in settings: the same with the settings uncommented. */
    struct config built_in = config_default(), c = built_in;
    char message[CONFIG_MESSAGE_MAX] = "";
    for (char *p = sample; (p = strstr(p, "\n#")); p++)
        if (p[2] != ' ' && p[2] != '\n')
            p[1] = ' ';
    if (config_parse(&c, sample, strlen(sample), "gazed.conf", message) < 0)
        fail_msg("%s", message);
    strcpy(c.model_dir, built_in.model_dir); /* depends on the prefix */
    assert_memory_equal(&c, &built_in, sizeof(c));
    free(manual);
    free(sample);
}

static void files(void **state)
{
    struct config c = config_default();
    char message[CONFIG_MESSAGE_MAX];
    assert_int_equal(config_load(&c, "/nonexistent/gazed.conf", message), -ENOENT);
    assert_string_equal(message, "/nonexistent/gazed.conf: No such file or directory");
    assert_int_equal(config_load(&c, "/", message), -EISDIR);
    assert_int_equal(config_load(&c, "/dev/zero", message), -EFBIG);
    assert_int_equal(config_load(&c, "systemd/gazed.conf.in", message), 0);
}

static void journal_is_recognised(void **state)
{
    assert_true(log_stream_matches("8:1234", 8, 1234));
    assert_false(log_stream_matches("8:1234", 8, 1235));
    assert_false(log_stream_matches("8:1234", 9, 1234));
    assert_false(log_stream_matches("8:1234x", 8, 1234));
    assert_false(log_stream_matches("8", 8, 0));
    assert_false(log_stream_matches("", 0, 0));
    assert_false(log_stream_matches(NULL, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_text),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(limits_of_length),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(every_key_goes_out_and_in),
        cmocka_unit_test(manual_and_sample_know_every_key),
        cmocka_unit_test(files),
        cmocka_unit_test(journal_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
