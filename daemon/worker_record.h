// What the pipeline found, as a wire record.
#pragma once

#include "daemon/pipeline.h"
#include "wire/wire.h"

// Fills a RESULT from faces[count]; seq, capture_ns, frame size and device are the caller's to set. Values that the
// protocol does not allow (not finite, out of its range) never get in: such a face is left out.
void worker_record_faces(const struct pipeline_face *faces, int count, struct wire_result *result);
