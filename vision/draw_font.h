// The dot face of draw_text: see draw_font.c.
#pragma once

#include <stdint.h>

#define DRAW_FONT_FIRST  32
#define DRAW_FONT_GLYPHS 95

extern const uint8_t draw_font[DRAW_FONT_GLYPHS][7];
