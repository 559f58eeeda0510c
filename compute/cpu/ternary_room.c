#include "compute/cpu/ternary_room.h"

#include <assert.h>

#include "base/mem.h"

struct stn_ternary_room {
    struct stn_ternary_room_size most;
    uint8_t *panels;
    float *block_scales;
    char *rows; /* row bytes for each member: a row's values, and its scales */
    size_t row;
    const struct stn_ternary_source *source; /* what is in it */
    struct stn_ternary_parts parts;
    struct stn_ternary *held;
};

static size_t row_bytes(size_t cols)
{
    size_t values = (cols + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
    size_t scales = (cols + 255) / 256 * sizeof(float);
    return values + (scales + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
}

void stn_ternary_room_raise(struct stn_ternary_room_size *most, size_t rows, size_t cols)
{
    struct stn_ternary_parts parts;
    stn_ternary_measure(rows, cols, &parts);
    most->panels = parts.panels_size > most->panels ? parts.panels_size : most->panels;
    most->scales = parts.scales_size > most->scales ? parts.scales_size : most->scales;
    most->cols = cols > most->cols ? cols : most->cols;
}

size_t stn_ternary_room_bytes(const struct stn_ternary_room_size *most, unsigned n_members)
{
    return most->panels + most->scales + n_members * row_bytes(most->cols);
}

enum stn_code stn_ternary_room_new(struct stn_ternary_room **ret, const struct stn_ternary_room_size *most, unsigned n_members,
                                   struct stn_err *err)
{
    struct stn_ternary_room *room = stn_mem_new(1, sizeof *room);
    if (room == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a room");
    }
    room->most = *most;
    room->row = row_bytes(most->cols);
    room->panels = stn_mem_aligned(most->panels, 1);
    room->block_scales = stn_mem_aligned(most->scales, 1);
    room->rows = stn_mem_aligned(n_members, room->row);
    enum stn_code code = stn_ternary_hollow(&room->held, 1, 1, err);
    if (code == STN_OK && (room->panels == NULL || room->block_scales == NULL || room->rows == NULL)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for %zu bytes of weights", stn_ternary_room_bytes(most, n_members));
    }
    if (code != STN_OK) {
        stn_ternary_room_free(room);
        return code;
    }
    *ret = room;
    return STN_OK;
}

void stn_ternary_room_free(struct stn_ternary_room *room)
{
    if (room != NULL) {
        stn_ternary_free(room->held);
        stn_mem_free(room->panels);
        stn_mem_free(room->block_scales);
        stn_mem_free(room->rows);
        stn_mem_free(room);
    }
}

size_t stn_ternary_room_begin(struct stn_ternary_room *room, const struct stn_ternary_source *source)
{
    room->source = source;
    stn_ternary_measure(source->rows, source->cols, &room->parts);
    assert(room->parts.panels_size <= room->most.panels && room->parts.scales_size <= room->most.scales &&
           source->cols <= room->most.cols);
    return (source->rows + STN_TERNARY_RANGE - 1) / STN_TERNARY_RANGE;
}

void stn_ternary_room_fill(struct stn_ternary_room *room, unsigned member, size_t first, size_t count)
{
    int8_t *values = (int8_t *)(room->rows + member * room->row);
    float *scales = (float *)(void *)(room->rows + (member + 1) * room->row) - (room->most.cols + 255) / 256;
    stn_ternary_pack_panels(room->source, room->panels, room->block_scales, first, count, values, scales);
}

const struct stn_ternary *stn_ternary_room_end(struct stn_ternary_room *room)
{
    struct stn_ternary_parts parts = room->parts;
    parts.panels = room->panels;
    parts.block_scales = room->block_scales;
    if (stn_ternary_unites(room->block_scales, room->parts.scales_size / sizeof(float), &parts.scale)) {
        parts.block_scales = NULL;
        parts.scales_size = 0;
    }
    stn_ternary_lend(room->held, room->source->rows, room->source->cols, &parts);
    return room->held;
}

static void fill_units(void *user, unsigned member, size_t first, size_t count)
{
    stn_ternary_room_fill(user, member, first, count);
}

const struct stn_ternary *stn_ternary_room_pack(struct stn_ternary_room *room, struct stn_team *team, const struct stn_ternary_source *source)
{
    stn_team_run(team, fill_units, room, stn_ternary_room_begin(room, source));
    return stn_ternary_room_end(room);
}
