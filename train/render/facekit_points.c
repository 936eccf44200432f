// Better vertices for the MediaPipe points that the data set marks as uncertain (spread of 0.3 and more: cheek edge,
// jaw, nose wings). Measured: the mean MediaPipe mesh of the portraits (its own depth, aligned to the head by the 341
// points of small spread), the head's identity fitted to it, and for each uncertain point the nearest face vertex.
#include "train/render/facekit.h"

static const uint16_t corrected[][2] = {
    {21, 282},   {34, 1767},  {49, 4765},  {54, 1955},  {58, 1900},  {67, 1424},  {71, 1706},  {79, 4782},  {93, 1782},
    {102, 4758}, {103, 1985}, {123, 2156}, {127, 1237}, {132, 375},  {135, 935},  {136, 765},  {137, 1053}, {138, 1669},
    {139, 246},  {147, 2093}, {148, 1496}, {149, 810},  {150, 1673}, {156, 34},   {162, 274},  {172, 758},  {176, 1444},
    {177, 364},  {215, 1780}, {227, 1771}, {234, 1786}, {238, 5501}, {239, 4977}, {241, 4591}, {251, 2523}, {264, 3970},
    {279, 5230}, {284, 4155}, {288, 4100}, {294, 5222}, {300, 2627}, {309, 5236}, {323, 3985}, {331, 5223}, {356, 3455},
    {360, 5097}, {361, 2616}, {363, 5474}, {364, 3175}, {365, 3006}, {366, 3273}, {367, 3876}, {376, 4287}, {377, 3710},
    {378, 3051}, {379, 3880}, {389, 2515}, {397, 2999}, {400, 3658}, {401, 2605}, {433, 2601}, {435, 3922}, {447, 3974},
    {454, 3989}, {458, 5488}, {459, 5431}, {461, 5240},
};

void facekit_correct_points(int32_t mp[FK_MP_POINTS])
{
    for (size_t i = 0; i < sizeof(corrected) / sizeof(*corrected); i++)
        mp[corrected[i][0]] = corrected[i][1];
}
