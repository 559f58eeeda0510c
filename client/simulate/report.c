#include "client/simulate/report.h"

#include <string.h>

#include "base/buf.h"
#include "client/simulate/embed.h"
#include "client/simulate/result_json.h"
#include "io/file.h"

/* Text inside <script>: "</" would end it. */
static void add_for_script(struct stn_buf *buf, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool ends = text[i] == '<' && i + 1 < size && (text[i + 1] == '/' || text[i + 1] == '!');
        (void)(ends ? stn_buf_add_str(buf, "\\u003c") : stn_buf_add_u8(buf, (uint8_t)text[i]));
    }
}

/* Where marker stands in the page, which has it once. */
static size_t find(const char *page, size_t size, const char *marker)
{
    const char *at = memmem(page, size, marker, strlen(marker));
    return at == NULL ? size : (size_t)(at - page);
}

enum stn_code stn_report_write(const struct stn_result *result, const char *path, struct stn_err *err)
{
    size_t page_size, chart_size;
    const char *page = stn_embed_page(&page_size), *chart = stn_embed_chart(&chart_size);
    const size_t data_at = find(page, page_size, "@DATA@"), chart_at = find(page, page_size, "@CHART@");
    struct stn_buf json = {0}, out = {0};
    enum stn_code code = stn_result_json_text(result, &json, err);
    if (code == STN_OK) {
        (void)stn_buf_add(&out, page, data_at);
        add_for_script(&out, (const char *)json.data, json.size);
        (void)stn_buf_add(&out, page + data_at + 6, chart_at - data_at - 6);
        (void)stn_buf_add(&out, chart, chart_size);
        (void)stn_buf_add(&out, page + chart_at + 7, page_size - chart_at - 7);
        code = out.failed ? stn_err_set(err, STN_MEMORY, "no memory for the report")
                          : stn_file_replace(path, out.data, out.size, STN_FILE_MODE, err);
    }
    stn_buf_fini(&json);
    stn_buf_fini(&out);
    return code;
}
