/* Keeps pictures of people out of files and out of other processes' reach. Call first in main() of both programs. */
#pragma once

/* No core dumps (they would hold faces) and no ptrace by other processes of the same user. Returns 0 or -errno. */
int privacy_forbid_dumps(void);
