/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A plugin of qemu-user (7.2, plugin API 1): how often each translated block ran, between marks that the
 * guest sets. The guest marks by prctl(MAGIC, tag): the counts since the mark before it are written as
 *     s TAG
 *     BLOCK COUNT
 *     ...
 * and, at exit, each block that was written as
 *     b BLOCK CODE      (hexadecimal, four bytes an instruction, in memory order)
 *
 * One thread only: the counters are not atomic.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of qemu's plugin interface. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *counter, uint64_t addend);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned int, int64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { PRCTL = 167, MAGIC = 0x68777173, SLOTS = 1 << 20 };

struct block {
    uint64_t address;
    uint64_t count, seen; /* runs so far; runs at the last mark */
    uint32_t length;      /* instructions */
    uint32_t number;
    bool written;
    uint32_t *code;
};

static struct block *table[SLOTS];
static uint32_t n_blocks;
static FILE *out;

static uint64_t hash(uint64_t address, const uint32_t *code, size_t length)
{
    uint64_t h = 1469598103934665603u ^ address;
    for (size_t i = 0; i < length; i++)
        h = (h ^ code[i]) * 1099511628211u;
    return h ^ (h >> 29);
}

/* The block with that code at that address: translated again, it keeps its counter. */
static struct block *find(uint64_t address, const uint32_t *code, uint32_t length)
{
    size_t slot = hash(address, code, length) % SLOTS;
    for (; table[slot]; slot = (slot + 1) % SLOTS) {
        struct block *b = table[slot];
        if (b->address == address && b->length == length && !memcmp(b->code, code, 4u * length))
            return b;
    }
    if (n_blocks > SLOTS / 2) {
        fprintf(stderr, "bbcount: too many blocks\n");
        exit(1);
    }
    struct block *b = calloc(1, sizeof *b);
    b->address = address;
    b->length = length;
    b->number = n_blocks++;
    b->code = malloc(4u * length);
    memcpy(b->code, code, 4u * length);
    return table[slot] = b;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    uint32_t code[4096];
    size_t length = qemu_plugin_tb_n_insns(tb);
    (void)id;
    for (size_t i = 0; i < length; i++)
        memcpy(&code[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), 4);
    struct block *b = find(qemu_plugin_tb_vaddr(tb), code, length);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &b->count, 1);
}

static int by_number(const void *x, const void *y)
{
    const struct block *a = *(struct block *const *)x, *b = *(struct block *const *)y;
    return a->number < b->number ? -1 : a->number > b->number;
}

static void mark(uint64_t tag)
{
    static struct block *changed[SLOTS];
    size_t n = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if (table[i] && table[i]->count != table[i]->seen)
            changed[n++] = table[i];
    if (tag) {
        qsort(changed, n, sizeof *changed, by_number);
        fprintf(out, "s %llu\n", (unsigned long long)tag);
    }
    for (size_t i = 0; i < n; i++) {
        struct block *b = changed[i];
        if (tag) {
            fprintf(out, "%u %llu\n", b->number, (unsigned long long)(b->count - b->seen));
            b->written = true;
        }
        b->seen = b->count;
    }
}

static void on_syscall(plugin_id id, unsigned int cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == PRCTL && a1 == MAGIC)
        mark(a2);
}

static void on_exit_write(plugin_id id, void *data)
{
    (void)id, (void)data;
    for (size_t i = 0; i < SLOTS; i++) {
        struct block *b = table[i];
        if (!b || !b->written)
            continue;
        fprintf(out, "b %u ", b->number);
        for (uint32_t k = 0; k < b->length; k++) {
            const unsigned char *w = (const unsigned char *)&b->code[k];
            fprintf(out, "%02x%02x%02x%02x", w[0], w[1], w[2], w[3]);
        }
        fputc('\n', out);
    }
    fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "bbcount: wants out=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
    return 0;
}
