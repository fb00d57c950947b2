/* Runs ONNX models with onnxruntime and marks, for the counting plugin, where the run of each begins and ends.
 *
 *     runner        in each of the folders 0, 1, ... reads ./job, ./model and ./input, writes ./output
 *
 * Loading the library takes longer than a small model does, hence several at a time. With `profile 1` it runs
 * the model once more, in a session that profiles itself, and prints where the profile is.
 *
 * File names are fixed, so that every process has the same arguments and environment: both move addresses,
 * and with them the counts. The job is lines of
 *     warmups N
 *     profile 0|1
 *     config KEY VALUE            session option
 *     input NAME TYPE NDIM DIM...     TYPE as in ONNX: 1 float, 2 uint8, 3 int8, 7 int64
 *     output NAME
 * and the input file holds the inputs one after another.
 *
 * onnxruntime's interface is a table of functions to which each version only appends: what is called
 * here keeps its place, so no header is needed.
 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { API_VERSION = 21, MAGIC = 0x68777173, MOST = 8 };
enum { OPTIMIZE_ALL = 99, LOG_ERROR = 3, CPU_DEVICE = 0, MEMORY_DEFAULT = 0, PATH = 256 };
/* Tags of marks: 0 only sets the start, the others are these plus MODEL times the number of the folder. */
enum { WHOLE = 1, REST = 2, CALLS = 100, MODEL = 1000000 };

typedef struct {
    const void *const *(*get_api)(uint32_t version);
    const char *(*version)(void);
} api_base;
extern const api_base *OrtGetApiBase(void);

typedef void *(*any)();
static const void *const *api;
#define CALL(place) ((any)api[place])

enum place {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    ENABLE_PROFILING = 14,
    SET_OPTIMIZATION_LEVEL = 23,
    SET_INTRA_THREADS = 24,
    SET_INTER_THREADS = 25,
    CREATE_TENSOR_WITH_DATA = 49,
    GET_TENSOR_DATA = 51,
    GET_ELEMENT_TYPE = 60,
    GET_ELEMENT_COUNT = 64,
    GET_TYPE_AND_SHAPE = 65,
    CREATE_CPU_MEMORY_INFO = 69,
    GET_DEFAULT_ALLOCATOR = 78,
    RELEASE_SESSION = 95,
    RELEASE_VALUE = 96,
    END_PROFILING = 110,
    ADD_CONFIG_ENTRY = 130,
};

static void check(void *status, const char *what)
{
    if (status) {
        const char *message = (const char *)CALL(GET_ERROR_MESSAGE)(status);
        fprintf(stderr, "%s: %s\n", what, message);
        exit(3);
    }
}

static void mark(unsigned long tag)
{
    prctl(MAGIC, tag, 0, 0, 0);
}

/* While armed, the clock counts its own calls and each call is a mark: the times in onnxruntime's profile
 * then say between which marks a node ran. */
static __thread int armed;
static long calls, base;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!armed)
        return (int)syscall(SYS_clock_gettime, clock, now);
    calls++;
    mark(base + CALLS + calls);
    now->tv_sec = 0;
    now->tv_nsec = 1000 * calls;
    return 0;
}

static int n_inputs, n_outputs;
static char input_names[MOST][64], output_names[MOST][64];
static char config_keys[MOST][PATH], config_values[MOST][PATH];
static int types[MOST], ranks[MOST], n_configs, warmups = 1, profile;
static int64_t shapes[MOST][8];

static void die(const char *why)
{
    fprintf(stderr, "runner: %s\n", why);
    exit(2);
}

static void read_job(void)
{
    FILE *job = fopen("job", "r");
    char word[32];
    n_inputs = n_outputs = n_configs = 0;
    if (!job)
        die("no job");
    while (fscanf(job, "%31s", word) == 1) {
        if (!strcmp(word, "warmups"))
            fscanf(job, "%d", &warmups);
        else if (!strcmp(word, "profile"))
            fscanf(job, "%d", &profile);
        else if (!strcmp(word, "config") && n_configs < MOST) {
            fscanf(job, "%255s %255s", config_keys[n_configs], config_values[n_configs]);
            n_configs++;
        } else if (!strcmp(word, "output") && n_outputs < MOST)
            fscanf(job, "%63s", output_names[n_outputs++]);
        else if (!strcmp(word, "input") && n_inputs < MOST) {
            int i = n_inputs++;
            fscanf(job, "%63s %d %d", input_names[i], &types[i], &ranks[i]);
            for (int k = 0; k < ranks[i] && k < 8; k++)
                fscanf(job, "%ld", (long *)&shapes[i][k]);
        } else
            die("cannot read the job");
    }
    fclose(job);
}

static size_t width(int type)
{
    return type == 1 ? 4 : type == 7 ? 8 : 1;
}

static void *open_session(void *env, int with_profile)
{
    void *options, *session;
    check(CALL(CREATE_SESSION_OPTIONS)(&options), "options");
    check(CALL(SET_OPTIMIZATION_LEVEL)(options, OPTIMIZE_ALL), "level");
    check(CALL(SET_INTRA_THREADS)(options, 1), "threads");
    check(CALL(SET_INTER_THREADS)(options, 1), "threads");
    for (int i = 0; i < n_configs; i++)
        check(CALL(ADD_CONFIG_ENTRY)(options, config_keys[i], config_values[i]), "config");
    if (with_profile)
        check(CALL(ENABLE_PROFILING)(options, "profile"), "profile");
    check(CALL(CREATE_SESSION)(env, "model", options, &session), "session");
    return session;
}

static void run(void *session, void **inputs, void **outputs)
{
    const char *in[MOST], *out[MOST];
    for (int i = 0; i < n_inputs; i++)
        in[i] = input_names[i];
    for (int i = 0; i < n_outputs; i++)
        out[i] = output_names[i], outputs[i] = NULL;
    check(CALL(RUN)(session, NULL, in, inputs, (size_t)n_inputs, out, (size_t)n_outputs, outputs), "run");
}

static void release(void **outputs)
{
    for (int i = 0; i < n_outputs; i++)
        CALL(RELEASE_VALUE)(outputs[i]);
}

static void write_outputs(void **outputs)
{
    FILE *file = fopen("output", "wb");
    for (int i = 0; i < n_outputs; i++) {
        void *info, *data;
        size_t count;
        int type;
        check(CALL(GET_TYPE_AND_SHAPE)(outputs[i], &info), "shape");
        check(CALL(GET_ELEMENT_COUNT)(info, &count), "count");
        check(CALL(GET_ELEMENT_TYPE)(info, &type), "type");
        check(CALL(GET_TENSOR_DATA)(outputs[i], &data), "data");
        fwrite(data, width(type), count, file);
    }
    fclose(file);
}

static void warm_up(void *session, void **inputs)
{
    void *outputs[MOST];
    for (int i = 0; i < warmups; i++) {
        run(session, inputs, outputs);
        release(outputs);
    }
}

static void run_with_profile(void *env, void **inputs)
{
    void *allocator, *name, *outputs[MOST], *session = open_session(env, 1);
    warm_up(session, inputs);
    calls = 0;
    mark(0);
    armed = 1;
    run(session, inputs, outputs);
    armed = 0;
    mark(base + REST);
    release(outputs);
    check(CALL(GET_DEFAULT_ALLOCATOR)(&allocator), "allocator");
    check(CALL(END_PROFILING)(session, allocator, &name), "profile");
    printf("%ld %s\n", calls, (char *)name);
    CALL(RELEASE_SESSION)(session);
}

static void read_inputs(void *memory, void **buffers, void **inputs)
{
    FILE *file = fopen("input", "rb");
    for (int i = 0; i < n_inputs; i++) {
        size_t bytes = width(types[i]);
        for (int k = 0; k < ranks[i]; k++)
            bytes *= (size_t)shapes[i][k];
        buffers[i] = aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (!file || fread(buffers[i], 1, bytes, file) != bytes)
            die("the input file is too short");
        check(CALL(CREATE_TENSOR_WITH_DATA)(memory, buffers[i], bytes, shapes[i], (size_t)ranks[i], types[i],
                                            &inputs[i]),
              "tensor");
    }
    fclose(file);
}

/* The model in the current folder. */
static void run_model(void *env, void *memory)
{
    void *buffers[MOST], *inputs[MOST], *outputs[MOST], *session;
    read_job();
    read_inputs(memory, buffers, inputs);
    session = open_session(env, 0);
    warm_up(session, inputs);
    mark(0);
    run(session, inputs, outputs);
    mark(base + WHOLE);
    write_outputs(outputs);
    release(outputs);
    CALL(RELEASE_SESSION)(session);
    if (profile)
        run_with_profile(env, inputs);
    else
        printf("0 -\n");
    for (int i = 0; i < n_inputs; i++) {
        CALL(RELEASE_VALUE)(inputs[i]);
        free(buffers[i]);
    }
    fflush(stdout);
}

int main(void)
{
    void *env, *memory;
    char folder[16];
    api = OrtGetApiBase()->get_api(API_VERSION);
    if (!api)
        die("this onnxruntime is too old");
    check(CALL(CREATE_ENV)(LOG_ERROR, "hawqsearch", &env), "env");
    check(CALL(CREATE_CPU_MEMORY_INFO)(CPU_DEVICE, MEMORY_DEFAULT, &memory), "memory");
    for (long model = 0;; model++) {
        snprintf(folder, sizeof folder, "%ld", model);
        if (chdir(folder))
            break;
        base = MODEL * model;
        run_model(env, memory);
        if (chdir(".."))
            die("a folder went away");
    }
    _exit(0);
}
