#include "channel/url.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/str.h"

#define SCHEME "sterna://"
#define N_PARTS 3

static const char *const vias[STN_URL_VIAS] = {
    [STN_URL_TCP] = "tcp", [STN_URL_TLS] = "tls+tcp", [STN_URL_WS] = "ws", [STN_URL_WSS] = "wss"};
static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";

/* How many characters of s are a host; 0: none. */
static size_t host_size(const char *s)
{
    if (s[0] != '[') {
        return strspn(s, letters);
    }
    size_t n = strspn(s + 1, "0123456789abcdefABCDEF:.");
    return n > 1 && s[n + 1] == ']' ? n + 2 : 0;
}

/* "HOST:PORT"; *s is moved behind it. */
static enum stn_code get_host(struct stn_url *url, const char **s, struct stn_err *err)
{
    size_t n = host_size(*s);
    if (n == 0 || n >= sizeof url->host) {
        return stn_err_set(err, STN_INVALID, "the URL has no host");
    }
    memcpy(url->host, *s, n);
    *s += n;
    char digits[6] = {0};
    size_t n_digits = **s == ':' ? strspn(*s + 1, "0123456789") : 0;
    uint64_t port = 0;
    if (n_digits > 0 && n_digits < sizeof digits) {
        memcpy(digits, *s + 1, n_digits);
        (void)stn_str_u64(digits, &port);
    }
    if (port == 0 || port > UINT16_MAX) {
        return stn_err_set(err, STN_INVALID,
                           "the URL needs a port of 1 to 65535 after %s:", url->host);
    }
    url->port = (uint16_t)port;
    *s += 1 + n_digits;
    return STN_OK;
}

/* n characters of s are "/PATH" */
static bool get_path(struct stn_url *url, const char *s, size_t n)
{
    if (n == 0 || n >= sizeof url->path || s[0] != '/' ||
        strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/") < n) {
        return false;
    }
    memcpy(url->path, s, n);
    url->path[n] = '\0';
    return true;
}

static bool get_via(struct stn_url *url, const char *s, size_t n)
{
    for (int i = 0; i < STN_URL_VIAS; i++) {
        if (strlen(vias[i]) == n && memcmp(s, vias[i], n) == 0) {
            url->via = (enum stn_url_via)i;
            return true;
        }
    }
    return false;
}

static bool has_paths(const struct stn_url *url)
{
    return url->via == STN_URL_WS || url->via == STN_URL_WSS;
}

/* "via=..." or "path=..."; *s is moved behind it. False: it is neither. */
static bool get_way(struct stn_url *url, const char **s, enum stn_code *ret, struct stn_err *err)
{
    bool is_via = stn_str_starts(*s, "via=");
    if (!is_via && !stn_str_starts(*s, "path=")) {
        return false;
    }
    *s += is_via ? 4 : 5;
    size_t n = strcspn(*s, "&");
    bool is_first = is_via ? url->via == STN_URL_TCP : url->path[0] == '\0';
    bool ok = is_first && (is_via ? get_via(url, *s, n) : get_path(url, *s, n));
    *ret = ok ? STN_OK
              : stn_err_set(err, STN_INVALID, is_via ? "the URL's via= is one of tls+tcp, ws and wss, once"
                                                     : "the URL's path= begins with a /, has up to %d of a-z A-Z 0-9 . - _ /, once",
                            STN_URL_PATH - 1);
    *s += n;
    return true;
}

/* "NAME=HEX"; *s is moved behind it. */
static enum stn_code get_part(uint8_t *const values[N_PARTS], bool seen[N_PARTS], const char **s,
                              struct stn_err *err)
{
    static const char *const names[N_PARTS] = {"key=", "dir=", "token="};
    char hex[65] = {0};
    for (size_t i = 0; i < N_PARTS; i++) {
        if (!stn_str_starts(*s, names[i])) {
            continue;
        }
        *s += strlen(names[i]);
        size_t n = strcspn(*s, "&");
        if (n == 64) {
            memcpy(hex, *s, 64);
        }
        if (seen[i] || n != 64 || !stn_hex_get(values[i], 32, hex)) {
            return stn_err_set(err, STN_INVALID,
                               "the URL needs %s with 64 hexadecimal digits, once", names[i]);
        }
        seen[i] = true;
        *s += n;
        return STN_OK;
    }
    return stn_err_set(err, STN_INVALID, "the URL has a part that is none of key, dir, token, via and path");
}

enum stn_code stn_url_get(struct stn_url *ret, const char *text, struct stn_err *err)
{
    struct stn_url url = {0};
    uint8_t *const values[N_PARTS] = {url.key, url.directory, url.token};
    bool seen[N_PARTS] = {0};
    if (!stn_str_starts(text, SCHEME)) {
        return stn_err_set(err, STN_INVALID, "a join URL begins with " SCHEME);
    }
    const char *s = text + strlen(SCHEME);
    enum stn_code code = get_host(&url, &s, err);
    if (code == STN_OK && *s++ != '/') {
        return stn_err_set(err, STN_INVALID, "the URL needs a / after the port %u", url.port);
    }
    for (char before = '?'; code == STN_OK && *s != '\0'; before = '&') {
        if (*s != before) {
            return stn_err_set(err, STN_INVALID, "the URL has something but ? after its /");
        }
        s++;
        if (!get_way(&url, &s, &code, err)) {
            code = get_part(values, seen, &s, err);
        }
    }
    if (code == STN_OK && url.path[0] != '\0' && !has_paths(&url)) {
        return stn_err_set(err, STN_INVALID, "the URL has a path=, which is for via=ws and via=wss");
    }
    if (code == STN_OK && (!seen[0] || !seen[1])) {
        return stn_err_set(err, STN_INVALID, "the URL lacks its %s= part", seen[0] ? "dir" : "key");
    }
    if (code == STN_OK) {
        url.has_token = seen[2];
        *ret = url;
    }
    return code;
}

enum stn_code stn_url_get_place(struct stn_url *ret, const char *text, struct stn_err *err)
{
    struct stn_url url = {0};
    const char *colon = strstr(text, "://"), *s = colon == NULL ? text : colon + 3;
    if (colon != NULL && !get_via(&url, text, (size_t)(colon - text))) {
        return stn_err_set(err, STN_INVALID, "devices come over tcp://, tls+tcp://, ws:// or wss://");
    }
    enum stn_code code = get_host(&url, &s, err);
    if (code == STN_OK && *s != '\0' && !(has_paths(&url) && get_path(&url, s, strlen(s)))) {
        code = stn_err_set(err, STN_INVALID, "there is something behind the port %u", url.port);
    }
    if (code == STN_OK) {
        (void)stn_str_copy(ret->host, sizeof ret->host, url.host);
        (void)stn_str_copy(ret->path, sizeof ret->path, url.path);
        ret->port = url.port;
        ret->via = url.via;
    }
    return code;
}

void stn_url_put(const struct stn_url *url, char dst[static STN_URL_TEXT])
{
    char key[65], directory[65], token[65], way[STN_URL_PATH + 32] = "";
    size_t n_host = host_size(url->host);
    assert(n_host > 0 && url->host[n_host] == '\0' && url->port != 0);
    stn_hex_put(key, url->key, 32);
    stn_hex_put(directory, url->directory, 32);
    stn_hex_put(token, url->token, 32);
    if (url->via != STN_URL_TCP) {
        (void)snprintf(way, sizeof way, "&via=%s%s%s", vias[url->via], url->path[0] == '\0' ? "" : "&path=", url->path);
    }
    int n = snprintf(dst, STN_URL_TEXT, SCHEME "%s:%u/?key=%s&dir=%s%s%s%s", url->host, url->port, key, directory, way,
                     url->has_token ? "&token=" : "", url->has_token ? token : "");
    assert(n > 0 && n < STN_URL_TEXT);
}

void stn_url_put_link(const struct stn_url *url, char dst[static STN_URL_LINK])
{
    int n = snprintf(dst, STN_URL_LINK, "%s://%s:%u%s", vias[url->via], url->host, url->port, url->path);
    assert(n > 0 && n < STN_URL_LINK);
}

bool stn_url_is_tls(const struct stn_url *url)
{
    return url->via == STN_URL_TLS || url->via == STN_URL_WSS;
}
