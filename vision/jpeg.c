// JPEG from memory: see jpeg.h.
#include "vision/jpeg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

struct jpeg_decoder {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    int status; // what a jump means
    int warnings;
    char message[IMAGE_MESSAGE_SIZE];
    JHUFF_TBL standard[4]; // DC and AC, for luma and chroma: ITU-T T.81 tables K.3 to K.6
    uint8_t *pixels;
    size_t capacity;
};

static void fail(struct jpeg_decoder *d, int status, const char *message)
{
    d->status = status;
    snprintf(d->message, sizeof(d->message), "%s", message);
    longjmp(d->jump, 1);
}

static void on_error(j_common_ptr info)
{
    struct jpeg_decoder *d = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    int code = info->err->msg_code;
    fail(d, code == JERR_OUT_OF_MEMORY ? -ENOMEM : code == JERR_IMAGE_TOO_BIG ? -EMSGSIZE : -EBADMSG, text);
}

// Warnings that mean missing or damaged picture data are errors here; others are counted.
static void on_message(j_common_ptr info, int level)
{
    struct jpeg_decoder *d = info->client_data;
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
        fail(d, -EBADMSG, "truncated: the data ends before the picture does");
        break;
    case JWRN_HIT_MARKER:
        fail(d, -EBADMSG, "truncated or corrupt: a segment of picture data is too short");
        break;
    case JWRN_HUFF_BAD_CODE:
        fail(d, -EBADMSG, "corrupt: bad Huffman code");
        break;
    default:
        d->warnings++;
    }
}

static void on_progress(j_common_ptr info)
{
    struct jpeg_decoder *d = info->client_data;
    if (d->info.input_scan_number > JPEG_MAX_SCANS)
        fail(d, -EBADMSG, "too many scans");
}

// Takes the standard Huffman tables from the library's own encoder.
static int load_standard_tables(struct jpeg_decoder *d)
{
    struct jpeg_compress_struct encoder = {.err = &d->errors, .client_data = d};
    if (setjmp(d->jump)) {
        jpeg_destroy_compress(&encoder);
        return d->status;
    }
    jpeg_create_compress(&encoder);
    encoder.in_color_space = JCS_RGB;
    encoder.input_components = 3;
    jpeg_set_defaults(&encoder);
    for (int i = 0; i < 2; i++) {
        d->standard[i] = *encoder.dc_huff_tbl_ptrs[i];
        d->standard[2 + i] = *encoder.ac_huff_tbl_ptrs[i];
    }
    jpeg_destroy_compress(&encoder);
    return 0;
}

int jpeg_decoder_new(struct jpeg_decoder **ret_decoder)
{
    struct jpeg_decoder *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->info.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    d->info.client_data = d;
    int r = load_standard_tables(d);
    if (r < 0) {
        free(d);
        return r;
    }
    if (setjmp(d->jump)) {
        r = d->status;
        jpeg_decoder_free(d);
        return r;
    }
    jpeg_create_decompress(&d->info);
    d->progress.progress_monitor = on_progress;
    d->info.progress = &d->progress;
    *ret_decoder = d;
    return 0;
}

struct jpeg_decoder *jpeg_decoder_free(struct jpeg_decoder *decoder)
{
    if (decoder) {
        jpeg_destroy_decompress(&decoder->info);
        free(decoder->pixels);
        free(decoder);
    }
    return NULL;
}

// Nothing of the last picture may show through: standard Huffman tables (MJPEG leaves them out), no quantisation
// tables.
static void reset_tables(struct jpeg_decoder *d)
{
    for (int i = 0; i < 4; i++) {
        JHUFF_TBL **table = i < 2 ? &d->info.dc_huff_tbl_ptrs[i] : &d->info.ac_huff_tbl_ptrs[i - 2];
        if (!*table)
            *table = jpeg_alloc_huff_table((j_common_ptr)&d->info);
        **table = d->standard[i];
    }
    for (int i = 0; i < NUM_QUANT_TBLS; i++)
        if (d->info.quant_tbl_ptrs[i])
            memset(d->info.quant_tbl_ptrs[i], 0, sizeof(*d->info.quant_tbl_ptrs[i]));
}

// The frame's first scan must not use a quantisation table that this picture did not bring.
static void check_tables(struct jpeg_decoder *d)
{
    for (int i = 0; i < d->info.comps_in_scan; i++) {
        int n = d->info.cur_comp_info[i]->quant_tbl_no;
        const JQUANT_TBL *table = n >= 0 && n < NUM_QUANT_TBLS ? d->info.quant_tbl_ptrs[n] : NULL;
        if (!table || table->quantval[0] == 0)
            fail(d, -EBADMSG, "corrupt: no quantisation table");
    }
}

// Everything up to the first row: colour space, scale.
static void choose_output(struct jpeg_decoder *d, int channels, int min_width, int min_height)
{
    struct jpeg_decompress_struct *info = &d->info;
    if (info->image_width > IMAGE_MAX_SIDE_PX || info->image_height > IMAGE_MAX_SIDE_PX) {
        char text[IMAGE_MESSAGE_SIZE];
        snprintf(text, sizeof(text), "too large: %u x %u, at most %d a side", info->image_width, info->image_height,
                 IMAGE_MAX_SIDE_PX);
        fail(d, -EMSGSIZE, text);
    }
    if (info->jpeg_color_space != JCS_GRAYSCALE && info->jpeg_color_space != JCS_YCbCr &&
        info->jpeg_color_space != JCS_RGB)
        fail(d, -EOPNOTSUPP, "not supported: neither grey nor RGB colour");
    info->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info->do_fancy_upsampling = FALSE; // chroma by repetition: faster, and luma is what the models see
    int denominator = 8;
    bool none = min_width <= 0 && min_height <= 0;
    while (denominator > 1 && (none || ((int)info->image_width + denominator - 1) / denominator < min_width ||
                               ((int)info->image_height + denominator - 1) / denominator < min_height))
        denominator /= 2;
    info->scale_num = 1;
    info->scale_denom = (unsigned)denominator;
    jpeg_calc_output_dimensions(info);
}

static void reserve(struct jpeg_decoder *d, size_t size)
{
    if (size <= d->capacity)
        return;
    uint8_t *pixels = realloc(d->pixels, size);
    if (!pixels)
        fail(d, -ENOMEM, "out of memory");
    d->pixels = pixels;
    d->capacity = size;
}

static void read_rows(struct jpeg_decoder *d, int stride)
{
    while (d->info.output_scanline < d->info.output_height) {
        JSAMPROW rows[8];
        unsigned n = 0;
        for (; n < 8 && d->info.output_scanline + n < d->info.output_height; n++)
            rows[n] = d->pixels + (size_t)stride * (d->info.output_scanline + n);
        jpeg_read_scanlines(&d->info, rows, n);
    }
}

int jpeg_decode(struct jpeg_decoder *d, const uint8_t *data, size_t size, int channels, int min_width, int min_height,
                struct jpeg_frame *ret_frame, char *message)
{
    if (!data || (channels != 1 && channels != 3)) {
        if (message)
            snprintf(message, IMAGE_MESSAGE_SIZE, "bad arguments");
        return -EINVAL;
    }
    d->warnings = 0;
    if (setjmp(d->jump)) {
        jpeg_abort_decompress(&d->info);
        if (message)
            snprintf(message, IMAGE_MESSAGE_SIZE, "%s", d->message);
        return d->status;
    }
    if (size == 0)
        fail(d, -EBADMSG, "empty");
    jpeg_mem_src(&d->info, data, size);
    reset_tables(d);
    jpeg_read_header(&d->info, TRUE);
    check_tables(d);
    choose_output(d, channels, min_width, min_height);
    int width = (int)d->info.output_width, height = (int)d->info.output_height;
    reserve(d, (size_t)width * (size_t)height * (size_t)channels);
    jpeg_start_decompress(&d->info);
    read_rows(d, width * channels);
    jpeg_finish_decompress(&d->info);
    *ret_frame = (struct jpeg_frame){
        .image = {width, height, width * channels, channels, d->pixels},
        .full_width = (int)d->info.image_width,
        .full_height = (int)d->info.image_height,
        .denominator = (int)d->info.scale_denom,
        .warnings = d->warnings,
    };
    return 0;
}
