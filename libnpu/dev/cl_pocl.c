/* cl_pocl.c - what PoCL takes from the environment: where its threads run, and its cache on disk: a folder that works,
 * and nothing in it that would end the process.
 *
 * PoCL trusts what it finds there: a compiled kernel cut short by a power failure ends the process with a signal at
 * every start, and so does a disk without room for a new one. So the folder is chosen with room in it, and its files
 * are looked through for those that are not whole: at the first start after a boot, and when a process that used the
 * folder has ended without saying so (a file named after its id is left in the folder `gazed`). Looking takes about a
 * millisecond for a hundred files. Other failures only cost time.
 */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "libnpu/dev/cl.h"
#include "libnpu/dev/cl_list.h"
#include "libnpu/file.h"

#define ROOM_BYTES (UINT64_C(32) << 20) /* all kernels of gazed take 3 MiB */
#define OLD_S      3600                 /* of PoCL's temporary files, which it forgets */

enum { MAX_PATH = 4096, MAX_SECTIONS = 256 };

/* ---- whole files ---- */
static bool get(int fd, void *to, size_t n, uint64_t at)
{
    return at <= INT64_MAX && pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

/* All of its sections are there; files are cut, or end in zeros, from their end. */
static bool is_whole_elf(int fd, uint64_t size)
{
    Elf64_Ehdr h;
    Elf64_Shdr s[MAX_SECTIONS];

    if (!get(fd, &h, sizeof h, 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return false;
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_shnum > MAX_SECTIONS || h.e_shentsize != sizeof s[0])
        return true; /* not what PoCL writes here */
    if (h.e_shnum == 0 || !get(fd, s, h.e_shnum * sizeof s[0], h.e_shoff))
        return false;
    for (int i = 1; i < h.e_shnum; i++)
        if (s[i].sh_type == SHT_NULL || (s[i].sh_type != SHT_NOBITS && s[i].sh_offset + s[i].sh_size > size))
            return false;
    return true;
}

/* LLVM's bitcode: "BC\xc0\xde", then blocks to the end: 2 bits "a block begins", its kind and its width of codes,
 * aligned to 32 bits, and how many words it has. */
static bool is_whole_bitcode(int fd, uint64_t size)
{
    uint32_t w[2];
    uint64_t at = 4;

    if (!get(fd, w, 4, 0) || memcmp(w, "BC\xc0\xde", 4) != 0)
        return false;
    while (at + 8 <= size && get(fd, w, 8, at) && (w[0] & 3) == 1)
        at += 8 + 4 * (uint64_t)w[1];
    return at > 4 && at == size;
}

static bool ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

/* Removes what is not whole, and temporary files that nobody writes any more. */
static int look(const char *path, const struct stat *st, int type, struct FTW *at)
{
    const char *name = path + at->base;
    bool good = true;
    int fd;

    if (type != FTW_F)
        return 0;
    if (at->level == 1 && strncmp(name, "tempfile_", 9) == 0) {
        good = time(NULL) - st->st_mtime < OLD_S;
    } else if (ends_in(name, ".so") || ends_in(name, ".bc")) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
            return 0;
        good = (ends_in(name, ".so") ? is_whole_elf : is_whole_bitcode)(fd, (uint64_t)st->st_size);
        close(fd);
    }
    if (!good)
        unlink(path);
    return 0;
}

/* ---- when to look ---- */
static bool is_checked_since_boot(const char *marks, char *boot, size_t size)
{
    const int from = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    char path[MAX_PATH + 32], was[64];
    ssize_t n = from < 0 ? 0 : read(from, boot, size - 1), m;
    int fd;

    if (from >= 0)
        close(from);
    boot[n > 0 ? n : 0] = '\0';
    snprintf(path, sizeof path, "%s/boot", marks);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    m = fd < 0 ? -1 : read(fd, was, sizeof was);
    if (fd >= 0)
        close(fd);
    return m == n && n > 0 && memcmp(was, boot, (size_t)n) == 0;
}

static void note_boot(const char *marks, const char *boot)
{
    char path[MAX_PATH + 32];
    int fd;

    snprintf(path, sizeof path, "%s/boot", marks);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (write(fd, boot, strlen(boot)) < 0)
        unlink(path);
    close(fd);
}

/* Whether a process that does not live any more left its mark; it is removed. */
static bool somebody_died(const char *marks)
{
    DIR *h = opendir(marks);
    const struct dirent *e;
    bool died = false;

    while (h && (e = readdir(h))) {
        char *end;
        const long pid = strtol(e->d_name, &end, 10);

        if (pid <= 0 || *end || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        died = true;
        unlinkat(dirfd(h), e->d_name, 0);
    }
    if (h)
        closedir(h);
    return died;
}

/* The mark of this process, as long as it has contexts. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    int users;
    pid_t pid;
    char path[MAX_PATH + 64];
} mark;

static void enter(const char *folder)
{
    char marks[MAX_PATH + 16], boot[64];
    bool checked, died;
    int fd;

    pthread_mutex_lock(&lock);
    if (mark.users++ == 0 && snprintf(marks, sizeof marks, "%s/gazed", folder) < (int)sizeof marks) {
        mkdir(marks, 0700);
        checked = is_checked_since_boot(marks, boot, sizeof boot);
        died = somebody_died(marks);
        if (!cl_is_loaded() && (!checked || died)) {
            nftw(folder, look, 16, FTW_PHYS);
            note_boot(marks, boot);
        }
        mark.pid = getpid();
        snprintf(mark.path, sizeof mark.path, "%s/%d", marks, (int)mark.pid);
        fd = open(mark.path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_unlock(&lock);
}

void cl_release_environment(void)
{
    pthread_mutex_lock(&lock);
    if (mark.users > 0 && --mark.users == 0 && mark.pid == getpid() && mark.path[0])
        unlink(mark.path);
    pthread_mutex_unlock(&lock);
}

/* ---- where ---- */
static bool has_room(const char *path)
{
    struct statvfs v;
    return statvfs(path, &v) < 0 || v.f_bavail * (uint64_t)v.f_frsize >= ROOM_BYTES;
}

/* A folder of this user's alone below `parent`. */
static bool make_private(const char *parent, char *path, size_t size)
{
    struct stat st;

    snprintf(path, size, "%s/gazed-pocl-%u", parent, (unsigned)getuid());
    mkdir(path, 0700);
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() && (st.st_mode & 077) == 0)
        return true;
    snprintf(path, size, "%s/gazed-pocl-XXXXXX", parent);
    return mkdtemp(path) != NULL;
}

/* The default of PoCL, or the one that the caller or the environment wants; "" if there is none. */
static void wanted_folder(const char *cache_dir, char *path, size_t size)
{
    const char *set = getenv("POCL_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    path[0] = '\0';
    if (set && set[0])
        snprintf(path, size, "%s", set);
    else if (cache_dir)
        snprintf(path, size, "%s/pocl", cache_dir);
    else if (xdg && xdg[0] == '/')
        snprintf(path, size, "%s/pocl/kcache", xdg);
    else if (home && home[0] == '/')
        snprintf(path, size, "%s/.cache/pocl/kcache", home);
}

/* ---- threads ---- */
/* PoCL's threads sleep between kernels. Woken at once, two of them often begin on the same processor, and the kernel is
 * over before the scheduler parts them: half the speed. With POCL_AFFINITY thread i keeps to processor i, which must be
 * one that this process may have (PoCL 4 and later abort if not), so all must be. */
static void spread_threads(void)
{
    const long n = sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t cpus;

    if (sched_getaffinity(0, sizeof cpus, &cpus) < 0)
        return;
    for (long i = 0; i < n; i++)
        if (i >= CPU_SETSIZE || !CPU_ISSET((size_t)i, &cpus))
            return;
    setenv("POCL_AFFINITY", "1", 0);
}

void cl_prepare_environment(const char *cache_dir)
{
    const char *set = getenv("POCL_CACHE_DIR"), *tmp = getenv("TMPDIR");
    const char *parent[] = {tmp && tmp[0] == '/' ? tmp : "/tmp", "/dev/shm", tmp && tmp[0] == '/' ? tmp : "/tmp"};
    char path[MAX_PATH];

    spread_threads();
    wanted_folder(cache_dir, path, sizeof path);
    if (path[0] == '/' && npu_make_folders(path) && has_room(path)) {
        if (cache_dir || (set && !set[0]))
            setenv("POCL_CACHE_DIR", path, 1);
        enter(path);
        return;
    }
    for (int i = 0; i < 3; i++) /* one without room as the last resort */
        if ((i == 2 || has_room(parent[i])) && make_private(parent[i], path, sizeof path)) {
            setenv("POCL_CACHE_DIR", path, 1);
            enter(path);
            return;
        }
    enter("/nonexistent"); /* counted only */
}
