// Whether this process came out of a fork without an exec, in which no team of OpenMP may run:
// libgomp keeps a thread's team for its next region, and a child that waits for its parent's team
// waits for ever.
#pragma once

namespace fastwgan {

bool is_forked();

}  // namespace fastwgan
