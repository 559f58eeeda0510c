#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "proto/frame.h"
#include "proto/hello.h"

static const struct stn_frame frames[] = {
    {.kind = STN_FRAME_HELLO_IK, .head_size = 4, .body_size = 96},
    {.kind = STN_FRAME_HELLO_IKPSK2, .head_size = 4, .body_size = 96 + STN_HELLO_BYTES},
    {.kind = STN_FRAME_HELLO_REPLY, .head_size = 4, .body_size = 48},
    {.kind = STN_FRAME_REQUEST,
     .session = 0x0102030405060708,
     .counter = 0x1112131415161718,
     .head_size = 20,
     .body_size = 16},
    {.kind = STN_FRAME_REPLY,
     .session = UINT64_MAX,
     .counter = 1,
     .request = UINT64_MAX - 1,
     .head_size = 28,
     .body_size = STN_FRAME_RECORD + STN_FRAME_TAG},
    {.kind = STN_FRAME_REFUSED, .session = 5, .code = STN_NOT_FOUND, .head_size = 16},
};

static uint8_t bytes[STN_FRAME_SIZE + 1];

START_TEST(a_frame_comes_back_as_it_went)
{
    const struct stn_frame *frame = &frames[_i];
    struct stn_frame back;
    ck_assert_uint_eq(stn_frame_put_head(frame, bytes), frame->head_size);
    ck_assert_int_eq(stn_frame_get(&back, bytes, frame->head_size + frame->body_size, NULL),
                     STN_OK);
    ck_assert_int_eq(back.kind, frame->kind);
    ck_assert_uint_eq(back.session, frame->session);
    ck_assert_uint_eq(back.counter, frame->counter);
    ck_assert_uint_eq(back.request, frame->request);
    ck_assert_int_eq(back.code, frame->code);
    ck_assert_uint_eq(back.body_size, frame->body_size);
    ck_assert_ptr_eq(back.body, bytes + frame->head_size);
}
END_TEST

START_TEST(a_request_is_laid_out_little_endian)
{
    (void)stn_frame_put_head(&frames[3], bytes);
    ck_assert_mem_eq(bytes, "\x04\x01\0\0\x08\7\6\5\4\3\2\1\x18\x17\x16\x15\x14\x13\x12\x11", 20);
}
END_TEST

START_TEST(a_frame_has_a_least_and_a_most)
{
    static const size_t sizes[][2] = {
        {100, 612}, {100, 612}, {52, 564}, {36, 20 + 16 + (1 << 20)}, {44, 28 + 16 + (1 << 20)},
        {16, 16}};
    struct stn_frame back;
    (void)stn_frame_put_head(&frames[_i], bytes);
    for (size_t size = 0; size < 700; size++) {
        uint8_t *exact = stn_mem_copy(bytes, size);
        enum stn_code code = stn_frame_get(&back, exact, size, NULL);
        ck_assert_int_eq(code, size >= sizes[_i][0] && size <= sizes[_i][1] ? STN_OK : STN_CORRUPT);
        stn_mem_free(exact);
    }
    ck_assert_int_eq(stn_frame_get(&back, bytes, sizes[_i][1], NULL), STN_OK);
    ck_assert_int_eq(stn_frame_get(&back, bytes, sizes[_i][1] + 1, NULL), STN_CORRUPT);
}
END_TEST

START_TEST(what_is_no_frame_of_this_version_is_refused)
{
    struct stn_frame back;
    struct stn_err err;
    (void)stn_frame_put_head(&frames[5], bytes);
    bytes[1] = 2;
    ck_assert_int_eq(stn_frame_get(&back, bytes, 16, &err), STN_UNSUPPORTED);
    ck_assert_str_eq(err.text, "a frame of version 2, not 1");
    bytes[1] = 1;
    static const struct {
        uint8_t at, value;
    } wrong[] = {{0, 0}, {0, 7}, {0, 255}, {2, 1}, {3, 1}, {12, 0}, {12, STN_N_CODES}, {15, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t old = bytes[wrong[i].at];
        bytes[wrong[i].at] = wrong[i].value;
        ck_assert_int_eq(stn_frame_get(&back, bytes, 16, NULL), STN_CORRUPT);
        bytes[wrong[i].at] = old;
    }
    ck_assert_int_eq(stn_frame_get(&back, bytes, 16, NULL), STN_OK);
}
END_TEST

Suite *suite(void)
{
    const int n = (int)(sizeof frames / sizeof *frames);
    Suite *s = suite_create("frame");
    TCase *t = tcase_create("frame");
    tcase_add_loop_test(t, a_frame_comes_back_as_it_went, 0, n);
    tcase_add_test(t, a_request_is_laid_out_little_endian);
    tcase_add_loop_test(t, a_frame_has_a_least_and_a_most, 0, n);
    tcase_add_test(t, what_is_no_frame_of_this_version_is_refused);
    suite_add_tcase(s, t);
    return s;
}
