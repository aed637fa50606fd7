// What every entry of the C ABI returns.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fw_status {
  FW_OK = 0,
  FW_INVALID_ARGUMENT = 1,  // a null pointer with a size above zero, a pointer to numbers that is
                            // not aligned as they are, a negative size, sizes of more elements
                            // together than any memory holds (2^55), a bad choice; nothing was
                            // written
  FW_OUT_OF_MEMORY = 2,     // scratch memory could not be had; nothing was written
} fw_status;

#ifdef __cplusplus
}
#endif
