/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CDC_CONTROL_RANDOM_ID_H
#define CDC_CONTROL_RANDOM_ID_H

/* 128 random bits as 32 hexadecimal digits, which nobody else has. Any thread; aborts on a system without
 * any. */
void random_id(char ret[33]);

#endif
