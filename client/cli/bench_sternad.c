#include "client/cli/bench_sternad.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/command.h"
#include "base/str.h"

#define ANSWER_TRIES 1500
#define STOP_TRIES 500
#define PAUSE_NS 20000000
#define ASK_MS 60000
#define CONF_MAX ((size_t)1 << 20)
#define LOG_MAX ((size_t)64 << 20)

/* ---- processes ---- */

static enum stn_code find_program(char ret[static STN_FILE_PATH_MAX], const char *program, struct stn_err *err)
{
    static const char *const places[] = {"sternad", "../sbin/sternad", "../server/sternad"};
    char self[PATH_MAX];
    if (program != NULL) {
        return stn_str_copy(ret, STN_FILE_PATH_MAX, program) ? STN_OK
                                                              : stn_err_set(err, STN_LIMIT, "--sternad is too long");
    }
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0) {
        return stn_err_errno(err, errno, "/proc/self/exe");
    }
    self[size] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int n = snprintf(ret, STN_FILE_PATH_MAX, "%s/%s", self, places[i]);
        if (n > 0 && n < STN_FILE_PATH_MAX && access(ret, X_OK) == 0) {
            return STN_OK;
        }
    }
    (void)stn_str_copy(ret, STN_FILE_PATH_MAX, "sternad"); /* PATH's */
    return STN_OK;
}

/* Only what may be called between fork and exec. */
static _Noreturn void become(char *const argv[], const char *log)
{
    int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* Ctrl-C is for us, who then stop it */
    if (in >= 0 && out >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2) {
        (void)execvp(argv[0], argv);
    }
    _exit(127);
}

static enum stn_code spawn(const struct stn_bench_sternad *sternad, char *const argv[], pid_t *ret, struct stn_err *err)
{
    pid_t pid = fork();
    if (pid < 0) {
        return stn_err_errno(err, errno, "%s", sternad->program);
    }
    if (pid == 0) {
        become(argv, sternad->log);
    }
    *ret = pid;
    return STN_OK;
}

static void last_line(const char *path, char *ret, size_t room)
{
    struct stn_buf text = {0};
    ret[0] = '\0';
    if (stn_file_read(path, LOG_MAX, &text, NULL) == STN_OK) {
        size_t end = text.size;
        while (end > 0 && text.data[end - 1] == '\n') {
            end--;
        }
        size_t start = end;
        while (start > 0 && text.data[start - 1] != '\n') {
            start--;
        }
        (void)snprintf(ret, room, "%.*s", (int)(end - start), (const char *)text.data + start);
    }
    stn_buf_fini(&text);
}

static enum stn_code ended(const struct stn_bench_sternad *sternad, const char *what, int status, struct stn_err *err)
{
    char line[160];
    last_line(sternad->log, line, sizeof line);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && line[0] == '\0') {
        return stn_err_set(err, STN_NOT_FOUND, "%.120s is no program: say --sternad PATH", sternad->program);
    }
    return stn_err_set(err, STN_IO, "%s ended: %s", what, line[0] == '\0' ? "it said nothing" : line);
}

static enum stn_code run_init(const struct stn_bench_sternad *sternad, struct stn_err *err)
{
    char listen[64], address[32];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0; /* a port that is free now */
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&to, size) == 0 && getsockname(fd, (struct sockaddr *)&to, &size) == 0;
    int number = errno;
    stn_file_close(fd);
    if (!ok) {
        return stn_err_errno(err, number, "a port of loopback");
    }
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(to.sin_port));
    (void)snprintf(listen, sizeof listen, "tcp://%s", address);
    const char *argv[] = {sternad->program, "init", sternad->folder, "--listen", listen, "--address", address, NULL};
    pid_t pid = 0;
    enum stn_code code = spawn(sternad, (char *const *)(uintptr_t)argv, &pid, err);
    while (code == STN_OK && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return code == STN_OK && status != 0 ? ended(sternad, "sternad init", status, err) : code;
}

/* What an operator of a large fleet would say: not a line for every round. */
static enum stn_code quieten(const struct stn_bench_sternad *sternad, struct stn_err *err)
{
    static const char loud[] = "level = info", quiet[] = "level = warn";
    char path[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    enum stn_code code = stn_file_join(path, sternad->folder, "sternad.conf", err);
    code = code == STN_OK ? stn_file_read(path, CONF_MAX, &text, err) : code;
    if (code == STN_OK && stn_buf_add(&text, "", 1)) {
        char *at = strstr((char *)text.data, loud);
        if (at != NULL) {
            memcpy(at, quiet, sizeof quiet - 1);
        }
        code = stn_file_replace(path, text.data, text.size - 1, STN_FILE_MODE, err);
    }
    stn_buf_fini(&text);
    return code;
}

static enum stn_code run(struct stn_bench_sternad *sternad, const char *command, const char *config, pid_t *ret,
                         struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    const char *argv[] = {sternad->program, command, "--config", path, NULL};
    enum stn_code code = stn_file_join(path, sternad->folder, config, err);
    return code == STN_OK ? spawn(sternad, (char *const *)(uintptr_t)argv, ret, err) : code;
}

/* ---- speaking to them ---- */

enum stn_code stn_bench_sternad_ask(const struct stn_bench_sternad *sternad, json_t *request, json_t **ret,
                                    struct stn_err *err)
{
    const struct stn_operator to = {.dir = sternad->folder};
    return stn_operator_ask(&to, request, ASK_MS, ret, err);
}

enum stn_code stn_bench_sternad_invite(const struct stn_bench_sternad *sternad, size_t n, json_t **ret, struct stn_err *err)
{
    const struct stn_operator to = {.dir = sternad->folder};
    return stn_operator_ask_directory(&to, json_pack("{ss sI}", "command", "invite", "count", (json_int_t)n), ASK_MS, ret, err);
}

enum stn_code stn_bench_sternad_check(struct stn_bench_sternad *sternad, struct stn_err *err)
{
    int status;
    if (sternad->coordinator > 0 && waitpid(sternad->coordinator, &status, WNOHANG) == sternad->coordinator) {
        sternad->coordinator = 0;
        return ended(sternad, "sternad run", status, err);
    }
    if (sternad->directory > 0 && waitpid(sternad->directory, &status, WNOHANG) == sternad->directory) {
        sternad->directory = 0;
        return ended(sternad, "sternad directory", status, err);
    }
    return STN_OK;
}

static enum stn_code wait_for_both(struct stn_bench_sternad *sternad, struct stn_err *err)
{
    enum stn_code code = STN_AGAIN;
    for (int i = 0; i < ANSWER_TRIES && code != STN_OK; i++) {
        json_t *reply = NULL;
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        code = stn_bench_sternad_check(sternad, err);
        if (code != STN_OK) {
            return code;
        }
        if (stn_command_stopping()) {
            return stn_err_set(err, STN_CANCELLED, "stopped");
        }
        code = stn_bench_sternad_invite(sternad, 1, &reply, err);
        json_decref(reply);
        if (code == STN_OK) {
            code = stn_bench_sternad_ask(sternad, json_pack("{ss}", "command", "status"), &reply, err);
            json_decref(code == STN_OK ? reply : NULL);
        }
        if (code != STN_OK) {
            (void)nanosleep(&pause, NULL);
        }
    }
    return code;
}

/* ---- life ---- */

enum stn_code stn_bench_sternad_start(struct stn_bench_sternad *ret, const char *program, const char *folder,
                                      struct stn_err *err)
{
    struct stn_bench_sternad sternad = {0};
    enum stn_code code = find_program(sternad.program, program, err);
    code = code == STN_OK ? stn_file_join(sternad.folder, folder, "fleet", err) : code;
    code = code == STN_OK ? stn_file_join(sternad.log, folder, "sternad.log", err) : code;
    code = code == STN_OK ? run_init(&sternad, err) : code;
    code = code == STN_OK ? quieten(&sternad, err) : code;
    code = code == STN_OK ? run(&sternad, "directory", "directory/directory.conf", &sternad.directory, err) : code;
    code = code == STN_OK ? run(&sternad, "run", "sternad.conf", &sternad.coordinator, err) : code;
    code = code == STN_OK ? wait_for_both(&sternad, err) : code;
    if (code != STN_OK) {
        stn_bench_sternad_stop(&sternad);
        return code;
    }
    *ret = sternad;
    return STN_OK;
}

static void stop(pid_t *pid)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    if (*pid <= 0) {
        return;
    }
    (void)kill(*pid, SIGTERM);
    for (int i = 0; waitpid(*pid, NULL, WNOHANG) == 0; i++) {
        if (i == STOP_TRIES) {
            (void)kill(*pid, SIGKILL);
        }
        (void)nanosleep(&pause, NULL);
    }
    *pid = 0;
}

void stn_bench_sternad_stop(struct stn_bench_sternad *sternad)
{
    stop(&sternad->coordinator);
    stop(&sternad->directory);
}
