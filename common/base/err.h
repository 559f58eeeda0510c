/* err: how a function says that the world did not do what it should.
 *
 * A fallible function returns a code and takes a caller-owned struct stn_err as its last argument (NULL when
 * the caller wants the code alone). Codes are chosen by what the caller can do about them. The text names
 * the thing and gives the numbers: lower case, no full stop, no function names, one line (control characters that
 * it quotes become question marks). Our own mistakes are asserts, never errors. Over the wire go codes, never text.
 * Thread: any. */
#ifndef STN_BASE_ERR_H
#define STN_BASE_ERR_H

#define STN_CHECKED __attribute__((warn_unused_result))
#define STN_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* The values travel on the wire and never change. */
enum stn_code {
    STN_OK = 0,
    STN_INVALID = 1,      /* the input is wrong: say so to whoever gave it */
    STN_LIMIT = 2,        /* a named limit would be passed */
    STN_NOT_FOUND = 3,    /* the named thing does not exist */
    STN_EXISTS = 4,       /* it exists already, and is another */
    STN_AGAIN = 5,        /* not now: try later */
    STN_DENIED = 6,       /* not allowed: wrong key, spent token, unknown device */
    STN_CORRUPT = 7,      /* bytes are not what their digest, tag or format says */
    STN_UNSUPPORTED = 8,  /* well formed, and beyond what this build can do */
    STN_IO = 9,           /* the operating system or the network refused */
    STN_FULL = 10,        /* no room on the disk */
    STN_MEMORY = 11,      /* no memory */
    STN_CANCELLED = 12,   /* stopped on request */
    STN_LATE = 13,        /* the round or lease that this belongs to is over */
    STN_N_CODES
};

struct stn_err {
    enum stn_code code;
    char text[252];
};

/* Fills *err (which may be NULL) and returns code, so that a guard is one statement. */
enum stn_code stn_err_set(struct stn_err *err, enum stn_code code, const char *format, ...)
    STN_PRINTF(3, 4);

/* Puts "PREFIX: " before the text: what was being done when the error came. Returns err's code. */
enum stn_code stn_err_prefix(struct stn_err *err, const char *format, ...) STN_PRINTF(2, 3);

/* The error of a failed system call from errno, "WHAT: reason". ENOSPC and EDQUOT are STN_FULL, ENOENT
 * STN_NOT_FOUND, ENOMEM STN_MEMORY, EACCES and EPERM STN_DENIED, EEXIST STN_EXISTS,
 * EMFILE and ENFILE STN_AGAIN, the rest STN_IO. */
enum stn_code stn_err_errno(struct stn_err *err, int number, const char *format, ...)
    STN_PRINTF(3, 4);

/* For a failure that changes nothing for the caller: the comment beside the call says why. */
static inline void stn_err_ignore(enum stn_code code)
{
    (void)code;
}

/* A short stable word: "invalid", "limit", ... "unknown" for a number that is no code. */
const char *stn_err_name(enum stn_code code);
/* The failure of that word; otherwise where there is none. */
enum stn_code stn_err_code(const char *name, enum stn_code otherwise);

#endif
