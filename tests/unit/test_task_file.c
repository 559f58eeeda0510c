#include "tests/lib/run.h"

#include <string.h>

#include "server/shell/task_file.h"

static struct stn_task_file file;
static struct stn_err err;

static enum stn_code parse(const char *text)
{
    err = (struct stn_err){0};
    return stn_task_file_parse(&file, "t.ini", text, strlen(text), &err);
}

#define LEAST "[task]\nname = homes\n[model]\nbase = m.gguf\n"

START_TEST(a_file_of_two_lines_has_the_defaults)
{
    ck_assert_int_eq(parse(LEAST), STN_OK);
    ck_assert_str_eq(file.spec.name, "homes");
    ck_assert_str_eq(file.base, "m.gguf");
    ck_assert_uint_eq(file.spec.train.local_steps, 5);
    ck_assert_uint_eq(file.spec.train.targets, 127);
    ck_assert_uint_eq(file.spec.target, 20);
    ck_assert_uint_eq(file.spec.outer.kind, STN_OUTER_NESTEROV);
    ck_assert(file.spec.secure);
    ck_assert_uint_eq(file.spec.n_min, 16);
    ck_assert(file.spec.gamma == 0.10 && file.spec.delta == 0.10);
    ck_assert_uint_eq(file.spec.sigma, 64);
    ck_assert_uint_eq(file.spec.eta, 30);
    ck_assert_uint_eq(file.spec.share_ms, 20000);
    ck_assert_uint_eq(file.spec.ack_ms, 15000);
    ck_assert_uint_eq(file.spec.unmask_ms, 20000);
}
END_TEST

START_TEST(every_setting_has_its_place)
{
    ck_assert_int_eq(parse(LEAST "targets = q,down\nrank = 4\n[train]\nlocal_epochs = 2\nloss = all\nlr = 1e-4\n"
                                 "[cohort]\ntarget = 6\nn_min = 5\nsecure = no\nupload_s = 30\n[merge]\nouter = avg\n"),
                     STN_OK);
    ck_assert_uint_eq(file.spec.train.targets, 1 | 64);
    ck_assert_uint_eq(file.spec.train.local_epochs, 2);
    ck_assert_uint_eq(file.spec.train.local_steps, 0);
    ck_assert(file.spec.train.loss_all);
    ck_assert_uint_eq(file.spec.upload_ms, 30000);
    ck_assert(!file.spec.secure);
    ck_assert_int_eq(parse(LEAST "[cohort]\nsecure = no\ngamma = 0\nsigma = 1\n"), STN_OK);
    ck_assert_int_eq(parse(LEAST "[cohort]\ngamma = 0.2\ndelta = 0.05\nsigma = 80\neta = 20\nshare_s = 7\nack_s = 8\n"
                                 "unmask_s = 9\n"),
                     STN_OK);
    ck_assert(file.spec.gamma == 0.2 && file.spec.delta == 0.05);
    ck_assert_uint_eq(file.spec.sigma, 80);
    ck_assert_uint_eq(file.spec.eta, 20);
    ck_assert_uint_eq(file.spec.share_ms, 7000);
    ck_assert_uint_eq(file.spec.ack_ms, 8000);
    ck_assert_uint_eq(file.spec.unmask_ms, 9000);
}
END_TEST

START_TEST(rates_and_optimisers_that_are_not_said_are_those_of_the_factors)
{
    static const struct {
        const char *text;
        double lr, rate;
        enum stn_outer outer;
    } cases[] = {
        {LEAST, 1e-2, 0.7, STN_OUTER_NESTEROV},
        {LEAST "[merge]\nlora = ffa\n", 1e-2, 0.7, STN_OUTER_NESTEROV},
        {LEAST "[merge]\nlora = both\n", 3e-3, 0.7, STN_OUTER_NESTEROV},
        {LEAST "[merge]\nlora = alternate\n", 1e-2, 1, STN_OUTER_AVG},
        {LEAST "[train]\nlr = 0.5\n[merge]\nlora = alternate\nouter = adam\n", 0.5, 0.01, STN_OUTER_ADAM},
        {LEAST "[merge]\nouter = yogi\nrate = 0.25\n", 1e-2, 0.25, STN_OUTER_YOGI},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(parse(cases[i].text) == STN_OK, "%s", err.text);
        ck_assert_double_eq(file.spec.train.lr, cases[i].lr);
        ck_assert_double_eq(file.spec.outer.rate, cases[i].rate);
        ck_assert_uint_eq(file.spec.outer.kind, cases[i].outer);
    }
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[task]\nname = homes\n", "base in [model] is missing"},
        {"[task]\nname = My Task\n[model]\nbase = m\n", "name in [task]"},
        {LEAST "rank = many\n", "t.ini line 5: rank is \"many\", expected a whole number"},
        {LEAST "rank = 1000\n", "from 1 to 256"},
        {LEAST "targets = q,z\n", "targets in [model]"},
        {"[task]\nname = a\n[model]\nbase =\n", "base is \"\", expected some text"},
        {LEAST "[cohort]\ntarget = 3\nn_min = 4\n", "n_min in [cohort] is 4"},
        {LEAST "[train]\nlocal_steps = 3\nlocal_epochs = 2\n", "one of local_steps and local_epochs"},
        {LEAST "[merge]\nouter = sgd\n", "expected one of avg, nesterov, momentum, adam, yogi"},
        {LEAST "[merge]\nbits = 17\n", "bits"},
        {LEAST "rank = 4\nhalvings = 3\n", "a rank of 4 cannot be halved so often"},
        {LEAST "[cohort]\nstaleness = 17\n", "from 0 to 16"},
        {LEAST "[cohort]\ntarget = 1001\n[merge]\nbits = 16\n", "16 bits are for 1000 members, not 1001"},
        {LEAST "[train]\nctx = 1024\n", "above batch_tokens"},
        {LEAST "[cohort]\nn_min = 4\n", "n_min of 4 in [cohort], with secure = yes: 4 members, not 5 to"},
        {LEAST "[cohort]\ntarget = 200\ngamma = 0.45\ndelta = 0.45\n", "target of 200 in [cohort], with secure = yes: no degree"},
        {LEAST "[cohort]\ngamma = 0.05\n", "gamma and sigma in [cohort] are 0.05 and 64: every device refuses"},
        {LEAST "[cohort]\nsigma = 40\n", "gamma and sigma in [cohort] are 0.1 and 40: every device refuses"},
        {LEAST "colour = red\n", "no setting is called model.colour"},
        {LEAST "[train\n", "t.ini line 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(parse(cases[i].text), STN_INVALID);
        ck_assert_msg(strstr(err.text, cases[i].says) != NULL, "%s does not say %s", err.text, cases[i].says);
    }
}
END_TEST

START_TEST(the_digest_changes_with_every_setting)
{
    ck_assert_int_eq(parse(LEAST), STN_OK);
    struct stn_task_spec a = file.spec, b = file.spec;
    struct stn_digest first = stn_task_file_digest(&a), second;
    b.upload_ms++;
    second = stn_task_file_digest(&b);
    ck_assert_mem_ne(first.bytes, second.bytes, sizeof first.bytes);
    b = a;
    b.unmask_ms++;
    second = stn_task_file_digest(&b);
    ck_assert_mem_ne(first.bytes, second.bytes, sizeof first.bytes);
    b = a;
    b.gamma += 0.01;
    second = stn_task_file_digest(&b);
    ck_assert_mem_ne(first.bytes, second.bytes, sizeof first.bytes);
    b = a;
    b.train.lr *= 1.0000001;
    second = stn_task_file_digest(&b);
    ck_assert_mem_ne(first.bytes, second.bytes, sizeof first.bytes);
    second = stn_task_file_digest(&a);
    ck_assert_mem_eq(first.bytes, second.bytes, sizeof first.bytes);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("task_file");
    TCase *t = tcase_create("task_file");
    tcase_add_test(t, a_file_of_two_lines_has_the_defaults);
    tcase_add_test(t, every_setting_has_its_place);
    tcase_add_test(t, rates_and_optimisers_that_are_not_said_are_those_of_the_factors);
    tcase_add_test(t, what_is_wrong_is_named);
    tcase_add_test(t, the_digest_changes_with_every_setting);
    suite_add_tcase(s, t);
    return s;
}
