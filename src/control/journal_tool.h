/* SPDX-License-Identifier: Apache-2.0 */
/* milvus-cdc journal: what the journals in a data directory hold. Read-only, also beside the service. */
#ifndef CDC_CONTROL_JOURNAL_TOOL_H
#define CDC_CONTROL_JOURNAL_TOOL_H

/* argv[0]: "journal". Prints to stdout; the exit status: 0, 1 (pending, or not readable), 64. */
int journal_tool_main(int argc, char **argv);

#endif
