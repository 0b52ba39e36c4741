/* SPDX-License-Identifier: Apache-2.0 */
/*
 * milvus-cdc doctor: looks at everything that the service needs, a line each with the remedy. Changes
 * nothing, takes no lock, and may run beside the service; as root or as the service's user.
 */
#ifndef CDC_CONTROL_DOCTOR_H
#define CDC_CONTROL_DOCTOR_H

#include <stdio.h>

/* argv[0]: "doctor". The exit status: 0, 1 (something failed), 64. */
int doctor_main(int argc, char **argv);
/* All checks with that configuration; lines go to out. Returns the number that failed. */
int doctor_run(FILE *out, const char *file);

#endif
