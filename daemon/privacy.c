/* No core dumps. */
#include "daemon/privacy.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int privacy_forbid_dumps(void)
{
    static const struct rlimit none = {0, 0};
    /* A core_pattern that is a pipe ignores the size limit, but not the flag. */
    return setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}
